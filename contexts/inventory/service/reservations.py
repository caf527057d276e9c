"""Reservations: stock set aside for an order, and its undo, side by side.

    –     held · refused · released (a tombstone)    reserve · reserve · release
    held  committed                                  commit, when the order is confirmed
    held  released                                   release
    committed  restocked                             release

All else is absorbed: a repeat reports what is recorded. Whoever changes one holds its row first, then the stock rows.
"""

from collections import Counter
from datetime import timedelta
from typing import NamedTuple
from uuid import UUID

import msgspec
import structlog

from contexts.inventory.events import (
    ReservationCommitted,
    ReservationDue,
    ReservationHeld,
    ReservationRefused,
    ReservationReleased,
)
from contexts.inventory.interface import Line, OutOfStock, Reservation, UnknownSku
from contexts.inventory.models import Reservation as Row
from contexts.inventory.service import stock
from shop.database import Prepared, changed, rows, transaction
from shop.errors import Closed, Invalid
from shop.outbox import publish

ANNOUNCE_AGAIN = timedelta(seconds=60)  # a decision that got lost is asked for again
BATCH = 100
CLOSED = (Row.Status.RELEASED, Row.Status.RESTOCKED)

log = structlog.get_logger(__name__)


class NoUnits(Invalid):
    """A reservation is of at least one unit in each of its lines."""


class Recorded(NamedTuple):
    """What the database knows of an order's reservation."""

    reservation: Reservation
    refusal: OutOfStock | None = None


def reserve(order_id: UUID, lines: tuple[Line, ...], hold: timedelta) -> Reservation:
    """See the interface."""
    demand = _summed(lines)
    with transaction("inventory"):
        recorded = _take(order_id, demand) if _record(order_id, demand, hold) else _find(order_id)
    if recorded.refusal:
        raise recorded.refusal  # after the commit, for it stays recorded
    if recorded.reservation.status in CLOSED:
        raise Closed(key=str(order_id))
    return recorded.reservation


def _summed(lines: tuple[Line, ...]) -> Counter[str]:
    demand: Counter[str] = Counter()
    for line in lines:
        demand[line.sku] += line.quantity
    if not lines or any(line.quantity < 1 for line in lines):
        raise NoUnits
    return demand


_LINES = """(SELECT coalesce(jsonb_object_agg(sku, quantity), '{}') FROM inventory_reservationline line
             WHERE line.order_id = inventory_reservation.order_id)"""

# Of two at once, the second waits at the conflict until the first has ended, and then finds what it recorded.
_RECORD = Prepared("""
WITH first AS (
    INSERT INTO inventory_reservation (order_id, status, due_at, announce_at, sequence)
    VALUES (%s, 'held', now() + %s, now() + %s, 1) ON CONFLICT (order_id) DO NOTHING RETURNING order_id),
lines AS (
    INSERT INTO inventory_reservationline (order_id, sku, quantity)
    SELECT order_id, sku, quantity
    FROM first CROSS JOIN unnest(%s::text[], %s::bigint[]) AS wanted (sku, quantity)
         JOIN inventory_variant variant USING (sku)
         JOIN inventory_stock USING (sku)
         JOIN inventory_product product ON product.id = variant.product_id
    WHERE variant.is_active AND product.is_active
    RETURNING sku)
SELECT EXISTS (SELECT FROM first), ARRAY(SELECT sku FROM lines)""")


def _record(order_id: UUID, demand: Counter[str], hold: timedelta) -> bool:
    """Write the reservation down as held; False where there was one. Raises UnknownSku, so that nothing is recorded."""
    values = [order_id, hold, hold, list(demand), list(demand.values())]
    [(first, for_sale)] = rows("inventory", _RECORD, values)
    if first and len(for_sale) < len(demand):
        raise UnknownSku(sku=next(sku for sku in demand if sku not in for_sale))
    return first


def _take(order_id: UUID, demand: Counter[str]) -> Recorded:
    levels = stock.shift(stock.TAKE, demand, order_id=order_id)
    if not levels:
        return _refuse(order_id, demand)
    publish(ReservationHeld(order_id=order_id), sequence=1)
    stock.announce(stock.TAKE, levels)
    return Recorded(_reservation(order_id, Row.Status.HELD, demand))


def _refuse(order_id: UUID, demand: Counter[str]) -> Recorded:
    left = stock.available(list(demand))
    sku = next(sku for sku, quantity in demand.items() if left[sku] < quantity)
    changed(
        "inventory",
        """UPDATE inventory_reservation
           SET status = 'refused', refused_sku = %s, refused_available = %s, due_at = NULL, announce_at = NULL
           WHERE order_id = %s""",
        [sku, left[sku], order_id],
    )
    refusal = OutOfStock(sku=sku, available=left[sku])
    publish(ReservationRefused(order_id=order_id, sku=sku, available=left[sku]), sequence=1)
    return Recorded(_reservation(order_id, Row.Status.REFUSED, demand), refusal)


def _find(order_id: UUID) -> Recorded:
    [(status, sku, available, lines)] = rows(
        "inventory",
        f"SELECT status, refused_sku, refused_available, {_LINES} FROM inventory_reservation WHERE order_id = %s",
        [order_id],
    )
    refusal = OutOfStock(sku=sku, available=available) if status == Row.Status.REFUSED else None
    return Recorded(_reservation(order_id, status, _demand(lines)), refusal)


def _demand(lines: str) -> dict[str, int]:
    return msgspec.json.decode(lines, type=dict[str, int])


def _reservation(order_id: UUID, status: str, demand: dict[str, int]) -> Reservation:
    lines = tuple(Line(sku=sku, quantity=quantity) for sku, quantity in sorted(demand.items()))
    return Reservation(order_id=order_id, status=Row.Status(status).value, lines=lines)


def release(order_id: UUID) -> Reservation:
    """See the interface. Undoes `reserve`, and `commit` after it."""
    with transaction("inventory"):
        undone = rows("inventory", _RELEASE, [order_id])
        if not undone:
            return _find(order_id).reservation
        released = _find(order_id).reservation
        restocked = released.status == Row.Status.RESTOCKED
        how = stock.RESTOCK if restocked else stock.FREE
        levels = stock.settle(how, {line.sku: line.quantity for line in released.lines}, order_id)
        publish(ReservationReleased(order_id=order_id, restocked=restocked), sequence=undone[0][0])
        stock.announce(how, levels)
    return released


# Inserted, it is a tombstone: released before it was held, without lines. These are read by a statement of their own:
# this one may wait for a reserve that was there first, and then does not see the lines that were written meanwhile.
_RELEASE = """
INSERT INTO inventory_reservation (order_id, status, sequence) VALUES (%s, 'released', 1)
ON CONFLICT (order_id) DO UPDATE
SET status = CASE inventory_reservation.status WHEN 'held' THEN 'released' ELSE 'restocked' END,
    sequence = inventory_reservation.sequence + 1, announce_at = NULL
WHERE inventory_reservation.status IN ('held', 'committed')
RETURNING sequence"""


def commit(order_id: UUID) -> None:
    """Sell what is held for a confirmed order. What was undone before stays undone.

    Raises LookupError for an order without a reservation: no confirmed order lacks one, so somebody has to look.
    """
    with transaction("inventory"):
        committed = rows("inventory", _COMMIT, [order_id])
        if not committed:
            return _pass_over(order_id)
        [(sequence, lines)] = committed
        stock.settle(stock.SELL, _demand(lines), order_id)
        publish(ReservationCommitted(order_id=order_id), sequence=sequence)


_COMMIT = Prepared(f"""
UPDATE inventory_reservation SET status = 'committed', sequence = sequence + 1, announce_at = NULL
WHERE order_id = %s AND status = 'held' RETURNING sequence, {_LINES}""")


def _pass_over(order_id: UUID) -> None:
    found = Row.objects.filter(order_id=order_id).values_list("status", flat=True).first()
    if found is None:
        raise LookupError(f"order {order_id} is confirmed, but there is no reservation for it")
    log.info("commit_ignored", order_id=str(order_id), status=found)


def announce_due() -> int:
    """Tell orders which held reservations are overdue, again each minute; they stay held. Returns how many."""
    with transaction("inventory"):
        due = rows("inventory", _DUE, [ANNOUNCE_AGAIN, BATCH])
        for order_id, sequence in due:
            publish(ReservationDue(order_id=order_id), sequence=sequence)
    return len(due)


_DUE = """
UPDATE inventory_reservation SET announce_at = now() + %s, sequence = sequence + 1
WHERE order_id IN (
    SELECT order_id FROM inventory_reservation WHERE status = 'held' AND announce_at <= now()
    ORDER BY announce_at LIMIT %s FOR UPDATE SKIP LOCKED)
RETURNING order_id, sequence"""
