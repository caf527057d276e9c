"""Reservations of stock for orders: reserve, release, commit.

    from       to                                    by
    –          held, refused                         reserve
    –          released (a tombstone)                release
    held       committed                             commit, when the order is confirmed
    held       released                              release
    committed  restocked                             release

Every other call changes nothing and returns the recorded reservation. A writer locks the reservation first, then the
stock rows.
"""

from collections import Counter
from collections.abc import Mapping
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
from contexts.inventory.interface import Line, OutOfStock, Reservation, ReservationStatus, UnknownSku
from contexts.inventory.models import Reservation as ReservationRow
from contexts.inventory.service import stock
from shop.calls.tracing import Trace, get_current_trace
from shop.db.database import PreparedStatement, execute, fetch_rows, transaction
from shop.errors import Closed, Invalid
from shop.messaging.outbox import Revision, publish

DUE_REMINDER_INTERVAL = timedelta(seconds=60)  # ReservationDue is published again until orders decides
DUE_BATCH_SIZE = 100
CLOSED_STATUSES = (ReservationStatus.RELEASED, ReservationStatus.RESTOCKED)

log = structlog.get_logger(__name__)


class NoUnits(Invalid):
    """Each line of a reservation needs a quantity of at least 1."""


class RecordedReservation(NamedTuple):
    """A reservation as the database has it, with the refusal if it was refused."""

    reservation: Reservation
    refusal: OutOfStock | None = None


def reserve(order_id: UUID, lines: tuple[Line, ...], hold: timedelta) -> Reservation:
    """Implement `Inventory.reserve`."""
    demand = _sum_by_sku(lines)
    with transaction("inventory"):
        recorded = _hold_stock(order_id, demand) if _insert_held(order_id, demand, hold) else _find(order_id)
    if recorded.refusal:
        raise recorded.refusal  # after the commit, so that the refusal stays recorded
    if recorded.reservation.status in CLOSED_STATUSES:
        raise Closed(key=str(order_id))
    return recorded.reservation


def _sum_by_sku(lines: tuple[Line, ...]) -> Counter[str]:
    demand: Counter[str] = Counter()
    for line in lines:
        demand[line.sku] += line.quantity
    if not lines or any(line.quantity < 1 for line in lines):
        raise NoUnits
    return demand


_LINES_SQL = """(SELECT coalesce(jsonb_object_agg(sku, quantity), '{}') FROM inventory_reservationline line
             WHERE line.order_id = inventory_reservation.order_id)"""

# Of two concurrent calls, the second waits at ON CONFLICT for the end of the first, and then reads what it recorded.
_INSERT_HELD_SQL = PreparedStatement("""
WITH first AS (
    INSERT INTO inventory_reservation (order_id, status, due_at, announce_at, sequence)
    VALUES (%(order_id)s, 'held', now() + %(hold)s, now() + %(hold)s, 1)
    ON CONFLICT (order_id) DO NOTHING RETURNING order_id),
lines AS (
    INSERT INTO inventory_reservationline (order_id, sku, quantity)
    SELECT order_id, sku, quantity
    FROM first CROSS JOIN unnest(%(skus)s::text[], %(quantities)s::bigint[]) AS wanted (sku, quantity)
         JOIN inventory_variant variant USING (sku)
         JOIN inventory_stock USING (sku)
         JOIN inventory_product product ON product.id = variant.product_id
    WHERE variant.is_active AND product.is_active
    RETURNING sku)
SELECT EXISTS (SELECT FROM first), ARRAY(SELECT sku FROM lines)""")


def _insert_held(order_id: UUID, demand: Counter[str], hold: timedelta) -> bool:
    """Record the reservation as held. Returns False if the order has one already.

    Raises UnknownSku if a SKU is not for sale; the rollback of the transaction removes the record.
    """
    values = {"order_id": order_id, "hold": hold, "skus": list(demand), "quantities": list(demand.values())}
    inserted: bool
    [(inserted, skus_for_sale)] = fetch_rows("inventory", _INSERT_HELD_SQL, values)
    if inserted and (missing := tuple(sku for sku in demand if sku not in skus_for_sale)):
        raise UnknownSku(sku=missing[0], skus=missing)
    return inserted


def _hold_stock(order_id: UUID, demand: Counter[str]) -> RecordedReservation:
    levels = stock.change_stock(stock.RESERVE, demand, order_id=order_id)
    if not levels:
        return _record_refusal(order_id, demand)
    publish(ReservationHeld(order_id=order_id), row=Revision())
    stock.publish_availability_changes(stock.RESERVE, levels)
    return RecordedReservation(_to_reservation(order_id, ReservationStatus.HELD, demand))


_REFUSE_SQL = """
UPDATE inventory_reservation
SET status = 'refused', refused_sku = %(sku)s, refused_available = %(available)s, due_at = NULL, announce_at = NULL
WHERE order_id = %(order_id)s"""


def _record_refusal(order_id: UUID, demand: Counter[str]) -> RecordedReservation:
    available = stock.get_available(list(demand))
    # A SKU that was removed meanwhile (service/currency.py) has no units.
    sku = next(sku for sku, quantity in demand.items() if available.get(sku, 0) < quantity)
    refusal = OutOfStock(sku=sku, available=available.get(sku, 0))
    execute("inventory", _REFUSE_SQL, {"sku": sku, "available": refusal.available, "order_id": order_id})
    publish(ReservationRefused(order_id=order_id, sku=sku, available=refusal.available), row=Revision())
    return RecordedReservation(_to_reservation(order_id, ReservationStatus.REFUSED, demand), refusal)


def _find(order_id: UUID) -> RecordedReservation:
    [(status, sku, available, lines)] = fetch_rows(
        "inventory",
        f"SELECT status, refused_sku, refused_available, {_LINES_SQL} FROM inventory_reservation WHERE order_id = %s",
        [order_id],
    )
    reservation = _to_reservation(order_id, ReservationStatus(status), _decode_demand(lines))
    refusal = OutOfStock(sku=sku, available=available) if status == ReservationStatus.REFUSED else None
    return RecordedReservation(reservation, refusal)


def _decode_demand(lines: str) -> dict[str, int]:
    return msgspec.json.decode(lines, type=dict[str, int])


def _to_reservation(order_id: UUID, status: ReservationStatus, demand: dict[str, int]) -> Reservation:
    lines = tuple(Line(sku=sku, quantity=quantity) for sku, quantity in sorted(demand.items()))
    return Reservation(order_id=order_id, status=status.value, lines=lines)


def release(order_id: UUID) -> Reservation:
    """Implement `Inventory.release`. Undoes `reserve`, and also `commit`."""
    with transaction("inventory"):
        released = fetch_rows("inventory", _RELEASE_SQL, [order_id])
        reservation = _find(order_id).reservation
        if not released:
            return reservation
        is_restocked = reservation.status == ReservationStatus.RESTOCKED.value
        change = stock.RESTOCK if is_restocked else stock.RELEASE
        demand = {line.sku: line.quantity for line in reservation.lines}
        levels = stock.settle_reservation(change, demand, order_id)
        [(sequence,)] = released
        publish(ReservationReleased(order_id=order_id, restocked=is_restocked), row=Revision(sequence))
        stock.publish_availability_changes(change, levels)
    return reservation


# A row that is inserted here is a tombstone: released before it was held, without lines. A statement of its own reads the
# lines afterwards: this one may wait for a concurrent reserve, and its snapshot would not contain that call's lines.
_RELEASE_SQL = """
INSERT INTO inventory_reservation (order_id, status, sequence) VALUES (%s, 'released', 1)
ON CONFLICT (order_id) DO UPDATE
SET status = CASE inventory_reservation.status WHEN 'held' THEN 'released' ELSE 'restocked' END,
    sequence = inventory_reservation.sequence + 1, announce_at = NULL
WHERE inventory_reservation.status IN ('held', 'committed')
RETURNING sequence"""


def commit(order_id: UUID) -> None:
    """Sell the held units of a confirmed order. A released or refused reservation does not change.

    Raises LookupError if the order has no reservation. This is an inconsistency; the event is parked.
    """
    commit_many({order_id: get_current_trace()})


def commit_many(orders: Mapping[UUID, Trace]) -> None:
    """Sell the held units of several confirmed orders, all or none; see `commit`. `orders`: the trace of each."""
    with transaction("inventory"):
        committed = {
            order_id: (sequence, _decode_demand(lines))
            for order_id, sequence, lines in fetch_rows("inventory", _COMMIT_SQL, [list(orders)])
        }
        for order_id in orders.keys() - committed.keys():
            _ignore_commit(order_id)
        stock.sell({order_id: demand for order_id, (_, demand) in committed.items()})
        for order_id, (sequence, _) in committed.items():
            publish(ReservationCommitted(order_id=order_id), row=Revision(sequence), trace=orders[order_id])


_COMMIT_SQL = PreparedStatement(f"""
UPDATE inventory_reservation SET status = 'committed', sequence = sequence + 1, announce_at = NULL
WHERE order_id = ANY(ARRAY(
    SELECT order_id FROM inventory_reservation WHERE order_id = ANY(%s) AND status = 'held' ORDER BY order_id FOR UPDATE))
RETURNING order_id, sequence, {_LINES_SQL}""")


def _ignore_commit(order_id: UUID) -> None:
    status = ReservationRow.objects.filter(order_id=order_id).values_list("status", flat=True).first()
    if status is None:
        raise LookupError(f"order {order_id} is confirmed, but has no reservation")
    log.info("commit_ignored", order_id=str(order_id), status=status)


def publish_due_reservations() -> int:
    """Publish ReservationDue for held reservations whose hold has expired, repeated each minute. Returns their number."""
    with transaction("inventory"):
        due = fetch_rows("inventory", _DUE_SQL, {"interval": DUE_REMINDER_INTERVAL, "limit": DUE_BATCH_SIZE})
        for order_id, sequence in due:
            publish(ReservationDue(order_id=order_id), row=Revision(sequence))
    return len(due)


_DUE_SQL = """
UPDATE inventory_reservation SET announce_at = now() + %(interval)s, sequence = sequence + 1
WHERE order_id IN (
    SELECT order_id FROM inventory_reservation WHERE status = 'held' AND announce_at <= now()
    ORDER BY announce_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
RETURNING order_id, sequence"""
