"""Changes of the catalogue by staff. Each change is audited with the previous values."""

from collections.abc import Mapping
from typing import TypedDict, TypeVar, Unpack
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError
from django.db.models import Model

from contexts.inventory.models import Category, Product, Stock, Variant
from shop.audit import audit
from shop.db.database import execute, transaction
from shop.errors import Conflict, NotFound, Unprocessable
from shop.versions import assert_version, compute_row_version

ModelT = TypeVar("ModelT", bound=Model)


class CategoryChanges(TypedDict, total=False):
    """Fields of a category that can be changed."""

    name: str
    description: str
    position: int


class NewCategory(CategoryChanges, total=False):
    """Fields of a new category."""

    slug: str


class ProductChanges(TypedDict, total=False):
    """Fields of a product that can be changed."""

    name: str
    description: str
    category: Category
    is_active: bool


class NewProduct(ProductChanges, total=False):
    """Fields of a new product."""

    slug: str


class VariantChanges(TypedDict, total=False):
    """Fields of a variant that can be changed. The price is in minor units of the variant's currency."""

    name: str
    price: int
    position: int
    is_active: bool


class NewVariant(VariantChanges, total=False):
    """Fields of a new variant."""

    sku: str
    product: Product


class AlreadyExists(Conflict):
    """A {what} with the key {key} already exists."""

    what: str
    key: str


class UnknownCategory(Unprocessable):
    """There is no category {slug}."""

    slug: str


class OtherPriceCurrency(Conflict):
    """The price of {sku} is in {currency}, not in {requested}."""

    sku: str
    currency: str
    requested: str


class MixedCurrencies(Conflict):
    """The other variants of this product are priced in {found}, and CURRENCY is {currency}: run `manage.py currency`."""

    found: str
    currency: str


def create_category(*, actor: str, **fields: Unpack[NewCategory]) -> Category:
    """Create a category. Raises AlreadyExists if the slug is taken."""
    with transaction("inventory"):
        return _create(Category(**fields), "slug", actor)


def update_category(pk: UUID, *, actor: str, expected_version: str = "", **changes: Unpack[CategoryChanges]) -> None:
    """Change name, description or position of a category. Raises PreconditionFailed if it has another version."""
    with transaction("inventory"):
        _update(Category, pk, changes, actor, expected_version)


def find_category(slug: str) -> Category:
    """Return a category. Raises UnknownCategory."""
    category = Category.objects.filter(slug=slug).first()
    if category is None:
        raise UnknownCategory(slug=slug)
    return category


def find_product(slug: str) -> Product:
    """Return a product, for sale or not. Raises NotFound."""
    product = Product.objects.filter(slug=slug).defer("document").first()
    if product is None:
        raise NotFound
    return product


def find_variant(sku: str) -> Variant:
    """Return a variant with its product, for sale or not. Raises NotFound."""
    variant = Variant.objects.filter(sku=sku).select_related("product").first()
    if variant is None:
        raise NotFound
    return variant


def assert_price_currency(variant: Variant, currency: str) -> None:
    """Raise OtherPriceCurrency unless the price of a variant is in this currency."""
    if variant.currency != currency:
        raise OtherPriceCurrency(sku=variant.sku, currency=variant.currency, requested=currency)


def create_product(*, actor: str, **fields: Unpack[NewProduct]) -> Product:
    """Create a product. It is listed once it has an active variant. Raises AlreadyExists if the slug is taken."""
    with transaction("inventory"):
        return _create(Product(**fields), "slug", actor)


def update_product(pk: UUID, *, actor: str, expected_version: str = "", **changes: Unpack[ProductChanges]) -> None:
    """Change name, description or category of a product, or whether it is for sale.

    Raises PreconditionFailed if it has another version.
    """
    with transaction("inventory"):
        _update(Product, pk, changes, actor, expected_version)


def create_variant(*, actor: str, **fields: Unpack[NewVariant]) -> Variant:
    """Create a variant with a stock of 0 and a price in CURRENCY. Raises AlreadyExists if the SKU is taken, MixedCurrencies."""
    with transaction("inventory"):
        _require_one_currency(fields["product"])
        variant = _create(Variant(currency=settings.CURRENCY, **fields), "sku", actor)
        Stock.objects.create(variant=variant)
        update_price_ranges([variant.product_id])
    return variant


def _require_one_currency(product: Product) -> None:
    """Lock the product, whose price range is about to change, and raise MixedCurrencies if it has another currency."""
    Product.objects.select_for_update(of=["self"]).only("id").get(pk=product.pk)
    others = product.variants.exclude(currency=settings.CURRENCY)
    if found := others.values_list("currency", flat=True).first():
        raise MixedCurrencies(found=found, currency=settings.CURRENCY)


def update_variant(sku: str, *, actor: str, expected_version: str = "", **changes: Unpack[VariantChanges]) -> None:
    """Change name, price or position of a variant, or whether it is for sale.

    Raises PreconditionFailed if it has another version.
    """
    with transaction("inventory"):
        # The product is locked first: two concurrent price changes would compute the range without each other's price.
        product = Product.objects.select_for_update(of=["self"]).only("id").get(variants=sku)
        _update(Variant, sku, changes, actor, expected_version)
        update_price_ranges([product.pk])


_UPDATE_PRICE_RANGES_SQL = """
UPDATE inventory_product SET (min_price, max_price) = (
    SELECT min(price), max(price) FROM inventory_variant WHERE product_id = inventory_product.id AND is_active)
WHERE id = ANY(%s)"""


def update_price_ranges(product_ids: list[UUID]) -> None:
    """Set the lowest and highest price of these products from their active variants."""
    execute("inventory", _UPDATE_PRICE_RANGES_SQL, [product_ids])


def _create(row: ModelT, key_field: str, actor: str) -> ModelT:
    what, key = _get_type_name(type(row)), getattr(row, key_field)
    try:
        row.save(force_insert=True)
    except IntegrityError:
        raise AlreadyExists(what=what, key=key) from None
    audit("inventory", actor=actor, action=f"add {what}", object_type=what, object_id=row.pk, key=key)
    return row


_VERSIONED_FIELDS: dict[type[Model], tuple[str, ...]] = {
    Category: tuple(CategoryChanges.__annotations__),
    Product: tuple(ProductChanges.__annotations__),
    Variant: tuple(VariantChanges.__annotations__),
}


def get_version(row: Category | Product | Variant) -> str:
    """Return the version of a row: it changes with every field that can be changed."""
    return compute_row_version(row, _VERSIONED_FIELDS[type(row)])


def _update(model: type[Model], pk: object, changes: Mapping[str, object], actor: str, expected_version: str) -> None:
    row = model._default_manager.select_for_update().get(pk=pk)
    current = compute_row_version(row, _VERSIONED_FIELDS[model])
    assert_version("inventory", _get_type_name(model), pk, current=current, expected=expected_version)
    before = {name: getattr(row, name) for name in changes}
    after = {name: value for name, value in changes.items() if before[name] != value}
    if not after:
        return
    model._default_manager.filter(pk=pk).update(**after)
    what = _get_type_name(model)
    detail = {
        "before": {name: _to_audit_value(before[name]) for name in after},
        "after": {name: _to_audit_value(value) for name, value in after.items()},
    }
    audit("inventory", actor=actor, action=f"edit {what}", object_type=what, object_id=pk, **detail)


def _get_type_name(model: type[Model]) -> str:
    return model.__name__.lower()


def _to_audit_value(value: object) -> object:
    return str(value) if isinstance(value, Model) else value
