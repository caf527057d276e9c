"""Limit the stock that orders hold while they wait for their payment: without paying, all of it could be held.

An order counts from the moment at which its checkout has to wait: for its customer, or for the provider. An order that is
paid in the request never counts, however many units it has. It counts by keyed hashes of the client's address, the account,
the e-mail address and the recipient's postal address. Whether it still counts follows from its own row: not once it is
confirmed or has ended. An order above a limit is rejected, and its stock is released.
"""

from collections.abc import Iterable, Mapping

from django.conf import settings

from contexts.orders.interface import OrderStatus
from contexts.orders.models import Order, Step
from shop.addresses.address import AddressRequest
from shop.db.database import execute, fetch_rows, transaction
from shop.errors import Conflict
from shop.http.quotas import HOLD_KEYS, parse_limits
from shop.keyed_hashes import compute_keyed_hashes


class HoldLimitReached(Conflict):
    """Too much stock is held by orders of the same customer, client or recipient that are not paid yet."""

    remedy = (
        "Pay the orders that wait, or cancel them, and order again with a new key. What is paid at once is not limited."
    )


def build_keys(keys: Mapping[str, str], recipient: AddressRequest) -> dict[str, str] | None:
    """Return the hashes that an order is counted by, each with its key; None if nothing is limited.

    keys: from `collect_keys`. With SECRET_KEY_FALLBACKS there is a hash for each secret.
    """
    if not settings.RATE_LIMITS:
        return None
    values = {**keys, "recipient": _fold(recipient)}
    limited = {*_parse(settings.HOLD_LIMIT_ORDERS), *_parse(settings.HOLD_LIMIT_UNITS)}
    hashes = {
        subject: key
        for key, value in values.items()
        if key in limited
        for subject in compute_keyed_hashes(f"hold {key} {value}".encode())
    }
    return hashes or None


def _fold(recipient: AddressRequest) -> str:
    """Return one spelling of a postal address, without the name and without spaces, punctuation and case."""
    parts = (recipient.country, recipient.postal_code, recipient.city, recipient.line1, recipient.line2)
    return " ".join("".join(filter(str.isalnum, part.casefold())) for part in parts)


def is_counted(order: Order) -> bool:
    """Return whether a checkout that has to wait now holds stock, and was not counted yet."""
    return bool(order.hold_keys) and order.step == Step.AUTHORIZING and order.status == OrderStatus.PENDING


# The locks make orders of the same key count one after the other. They are taken by a statement of its own: the snapshot of a
# statement that had to wait would not contain the other order.
_LOCK_SQL = """
SELECT pg_advisory_xact_lock(hashtextextended(subject, 0)) FROM unnest(%s::text[]) AS given (subject)"""
_COUNT_SQL = """
WITH given AS (
    SELECT * FROM unnest(%(subjects)s::text[], %(most_orders)s::bigint[], %(most_units)s::bigint[])
                      AS given (subject, most_orders, most_units)),
wanted AS (SELECT sum(quantity) AS units FROM orders_orderline WHERE order_id = %(order_id)s),
held AS (
    SELECT subject, count(*) AS orders, sum(hold.units) AS units
    FROM orders_unpaidhold hold JOIN orders_order placed ON placed.id = hold.order_id
    WHERE subject = ANY(%(subjects)s) AND placed.id <> %(order_id)s AND placed.status = 'pending'
    GROUP BY subject)
INSERT INTO orders_unpaidhold (subject, order_id, units)
SELECT subject, %(order_id)s, wanted.units FROM given CROSS JOIN wanted
WHERE NOT EXISTS (
    SELECT FROM given LEFT JOIN held USING (subject)
    WHERE coalesce(held.orders, 0) + 1 > most_orders OR coalesce(held.units, 0) + wanted.units > most_units)
ON CONFLICT (subject, order_id) DO UPDATE SET units = excluded.units"""


def count(order: Order) -> bool:
    """Count an order that has to wait, by all of its keys. Returns False if a limit is reached. A repeat changes nothing."""
    subjects = sorted(order.hold_keys or {})
    keys = [(order.hold_keys or {})[subject] for subject in subjects]
    parameters = {
        "order_id": order.pk,
        "subjects": subjects,
        "most_orders": _list_limits(settings.HOLD_LIMIT_ORDERS, keys),
        "most_units": _list_limits(settings.HOLD_LIMIT_UNITS, keys),
    }
    with transaction("orders"):
        fetch_rows("orders", _LOCK_SQL, [subjects])
        is_within_limits = execute("orders", _COUNT_SQL, parameters) > 0
    return is_within_limits


def _list_limits(text: str, keys: Iterable[str]) -> list[int | None]:
    limits = _parse(text)
    return [limits.get(key) for key in keys]  # None: not limited


def _parse(text: str) -> dict[str, int]:
    return parse_limits(text, HOLD_KEYS)
