"""The catalogue as staff change it. Every change is audited, with what was there before."""

from typing import Any, TypeVar
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError
from django.db.models import Model

from contexts.inventory.models import Category, Product, Stock, Variant
from shop.audit import audit
from shop.database import changed, transaction
from shop.errors import Conflict

M = TypeVar("M", bound=Model)


class AlreadyExists(Conflict):
    """There is a {what} {key} already."""

    what: str
    key: str


def add_category(*, actor: str, **fields: Any) -> Category:
    """A new category. Raises AlreadyExists for a slug that is taken."""
    with transaction("inventory"):
        return _add(Category(**fields), "slug", actor)


def edit_category(pk: UUID, *, actor: str, **fields: Any) -> None:
    """Change name, description or position of a category."""
    with transaction("inventory"):
        _edit(Category, pk, fields, actor)


def add_product(*, actor: str, **fields: Any) -> Product:
    """A new product. It is in no list before it has an active variant. Raises AlreadyExists for a slug that is taken."""
    with transaction("inventory"):
        return _add(Product(**fields), "slug", actor)


def edit_product(pk: UUID, *, actor: str, **fields: Any) -> None:
    """Change name, description or category of a product, or take it off sale and put it back."""
    with transaction("inventory"):
        _edit(Product, pk, fields, actor)


def add_variant(*, actor: str, **fields: Any) -> Variant:
    """A new variant, without stock until some is received. Raises AlreadyExists for a SKU that is taken."""
    with transaction("inventory"):
        variant = _add(Variant(currency=settings.CURRENCY, **fields), "sku", actor)
        Stock.objects.create(variant=variant)
        project_prices([variant.product_id])
    return variant


def edit_variant(sku: str, *, actor: str, **fields: Any) -> None:
    """Change name, price (minor units) or position of a variant, or take it off sale and put it back."""
    with transaction("inventory"):
        # Locked first: two changes of one product's prices would each project without the other.
        product = Product.objects.select_for_update(of=["self"]).only("id").get(variants=sku)
        _edit(Variant, sku, fields, actor)
        project_prices([product.pk])


def project_prices(product_ids: list[UUID]) -> None:
    """Write the lowest and the highest price of the active variants to their products, for the lists."""
    changed(
        "inventory",
        """UPDATE inventory_product SET (min_price, max_price) = (
               SELECT min(price), max(price) FROM inventory_variant
               WHERE product_id = inventory_product.id AND is_active)
           WHERE id = ANY(%s)""",
        [product_ids],
    )


def _add(row: M, key: str, actor: str) -> M:
    what = row._meta.model_name
    try:
        row.save(force_insert=True)
    except IntegrityError:
        raise AlreadyExists(what=what, key=getattr(row, key)) from None
    audit("inventory", actor=actor, action=f"add {what}", object_type=what, object_id=row.pk, key=getattr(row, key))
    return row


def _edit(model: type[Model], pk: Any, fields: dict[str, Any], actor: str) -> None:
    row = model.objects.select_for_update().get(pk=pk)
    before = {name: getattr(row, name) for name in fields}
    after = {name: value for name, value in fields.items() if before[name] != value}
    if after:
        model.objects.filter(pk=pk).update(**after)
        what = model._meta.model_name
        detail = {"before": {name: _plain(before[name]) for name in after}, "after": {n: _plain(v) for n, v in after.items()}}
        audit("inventory", actor=actor, action=f"edit {what}", object_type=what, object_id=pk, **detail)


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Model) else value
