"""Retention: how long the rows of a table are kept. Each model declares it, and `shop.purging` deletes what is older.

    class Cart(models.Model):
        retention = DeletedAfter(since="changed_at", setting="CART_RETENTION_DAYS")

A model without a declaration fails a test (tests/architecture/test_retention.py).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple, TypeAlias

from django.apps import apps
from django.conf import settings
from django.db.models import Model

KERNEL_APP = "shop"  # its tables are in the database of each context
UNITS = {
    "DAYS": timedelta(days=1),
    "HOURS": timedelta(hours=1),
    "SECONDS": timedelta(seconds=1),
}  # by the last word of a setting's name


@dataclass(frozen=True)
class Kept:
    """The rows are never deleted. `because`: the reason, for the operator."""

    because: str


@dataclass(frozen=True)
class DeletedWith:
    """The rows are deleted in the statement that deletes the row to which the column `by` refers."""

    table: str
    by: str


@dataclass(frozen=True)
class DeletedWithLast:
    """A row is deleted with the last row of the table whose column `by` refers to it."""

    table: str
    by: str


@dataclass(frozen=True, kw_only=True)
class DeletedAfter:
    """Rows are deleted when the time in the column `since` is older than a setting or a fixed period.

    since: an indexed column; with `is_indexed=False` a run reads the whole table in the order of its primary key, for a
    table that is small and whose updates must not maintain an index.
    setting: the name of a setting, which ends in its unit, _DAYS, _HOURS or _SECONDS. period: is added to it.
    condition: SQL that a row, called `old`, has to fulfil in addition. A partial index needs it literally.
    only: which rows fulfil the condition, for the operator. Other rows are kept.
    with_keys: delete the idempotency keys of a row with it.
    batch_rows: rows in one transaction; fewer where many others are deleted with each of them.
    """

    since: str
    setting: str = ""
    period: timedelta = timedelta(0)
    condition: str = "true"
    is_indexed: bool = True
    only: str = ""
    with_keys: bool = False
    batch_rows: int = 1_000

    def get_period(self) -> timedelta:
        """Return how long rows are kept after `since`."""
        if not self.setting:
            return self.period
        number: float = getattr(settings, self.setting)
        return UNITS[self.setting.rpartition("_")[2]] * number + self.period


Retention: TypeAlias = Kept | DeletedWith | DeletedWithLast | DeletedAfter


class Rule(NamedTuple):
    """One rule by which rows of a table are deleted. `name` identifies it in logs and lists."""

    name: str
    model: type[Model]
    policy: DeletedAfter


def get_retention(model: type[Model]) -> tuple[Retention, ...]:
    """Return what a model declares; empty if it declares nothing."""
    declared = getattr(model, "retention", ())
    return declared if isinstance(declared, tuple) else (declared,)


def list_models(context: str) -> list[type[Model]]:
    """Return the models whose tables are in the database of a context: its own and those of the kernel."""
    labels = (context, KERNEL_APP)
    return [model for model in apps.get_models() if model._meta.app_label in labels and model._meta.managed]


def list_rules(context: str) -> list[Rule]:
    """Return the rules for the database of a context."""
    return [rule for model in list_models(context) for rule in list_model_rules(model)]


def list_model_rules(model: type[Model]) -> Iterator[Rule]:
    """Yield the rules of one model. The first is named after its table, another one after its column, too."""
    policies = [policy for policy in get_retention(model) if isinstance(policy, DeletedAfter)]
    for number, policy in enumerate(policies):
        table = model._meta.db_table
        yield Rule(f"{table}.{policy.since}" if number else table, model, policy)
