"""The numbers of orders, by which staff find payments. Payments of older releases get them from orders."""

from uuid import UUID

from contexts.payments.interface import OrderNumber
from contexts.payments.models import ALIAS, Payment
from shop.db.database import execute

BATCH_SIZE = 200  # orders per call

_FILL_SQL = """
UPDATE payments_payment SET order_number = left(given.number, 12)
FROM unnest(%s::uuid[], %s::text[]) AS given (order_id, number)
WHERE payments_payment.order_id = given.order_id AND order_number = ''"""


def find_missing(after: UUID | None) -> tuple[UUID, ...]:
    """Return the ids of up to BATCH_SIZE orders after this one whose payments have no number. Not those of tombstones."""
    missing = Payment.objects.filter(order_number="").exclude(provider="").order_by("order_id")
    found = missing.filter(order_id__gt=after) if after else missing
    return tuple(found.values_list("order_id", flat=True)[:BATCH_SIZE])


def fill(numbers: tuple[OrderNumber, ...]) -> int:
    """Store the numbers where they are missing, and return how many were. No version is raised: no state changes."""
    given = [one.order_id for one in numbers], [one.number for one in numbers]
    return execute(ALIAS, _FILL_SQL, given)
