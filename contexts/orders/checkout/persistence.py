"""Save an order while its lease is held: every write has the condition `WHERE attempt = mine`.

No row changed means that another worker has taken the lease: this one stops with LeaseLost (protocol 3.1).
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from contexts.orders.checkout.pauses import Pause
from contexts.orders.interface import OrderStatus
from contexts.orders.models import Order, Step
from shop.db.database import FromNow, NoRowChanged, build_set_clause, execute_or_abort, fetch_rows, transaction
from shop.db.leases import LeaseLost
from shop.messaging.events import Event
from shop.messaging.outbox import publish

Changes = Mapping[str, object]  # column: value

CHECKPOINT_COLUMNS = (
    "step",
    "tries",
    "payment_id",
    "payment_status",
    "payment_action",
    "hold_keys",
)  # set in memory by the steps


@contextmanager
def change_order(
    order: Order, changes: Changes, event: Event | None = None, *, only_if: str = "true"
) -> Iterator[None]:
    """Open the transaction that writes changes of the order's row and publishes their event.

    The block may write more into the same transaction. Raises NoRowChanged, with nothing written and `order` as before,
    if the lease is lost or the SQL condition `only_if` does not hold.
    """
    columns = {**changes, "sequence": order.sequence + 1} if event else {**changes}
    names, values = build_set_clause(columns)
    sql = f"UPDATE orders_order SET {names} WHERE id = %s AND attempt = %s AND {only_if}"
    previous = {name: getattr(order, name) for name in columns}
    vars(order).update(columns)
    try:
        with transaction("orders"):
            execute_or_abort("orders", "order", sql, [*values, order.pk, order.attempt])
            if event:
                publish(event, row=order)
            yield
    except BaseException:
        vars(order).update(previous)
        raise


def save_or_raise(order: Order, event: Event, **changes: object) -> None:
    """Write changes of the order's row and publish their event. Raises LeaseLost."""
    try:
        with change_order(order, changes, event):
            pass
    except NoRowChanged:
        raise LeaseLost from None


@contextmanager
def release_lease(order: Order, pause: Pause) -> Iterator[None]:
    """Open the transaction that writes the checkpoint and releases the lease.

    The block may write more into the same transaction. Raises NoRowChanged if the order was woken meanwhile, the
    condition of the pause does not hold, or the lease is lost.
    """
    # An expired order waits for a provider that could not be asked.
    can_expire = (order.step == Step.AUTHORIZING or order.status == OrderStatus.ON_HOLD) and not order.is_expired
    due = FromNow(pause.delay, at_latest="expires_at" if can_expire else "NULL")
    checkpoint = {name: getattr(order, name) for name in CHECKPOINT_COLUMNS}
    changes = {**checkpoint, **pause.changes, "lease_until": None, "due_at": due}
    with change_order(order, changes, pause.event, only_if=f"NOT woken AND {pause.only_if}"):
        yield


def reload_cancel_request(order: Order) -> None:
    """Clear the wake-up flag and read the one column that others write. Raises LeaseLost."""
    sql = "UPDATE orders_order SET woken = false WHERE id = %s AND attempt = %s RETURNING cancel_requested_at"
    for (cancel_requested_at,) in fetch_rows("orders", sql, [order.pk, order.attempt]):
        order.cancel_requested_at = cancel_requested_at
        return
    raise LeaseLost
