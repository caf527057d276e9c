"""Reserve the order's stock, or release it."""

from contexts.inventory.interface import Line, OutOfStock, UnknownSku, inventory
from contexts.orders.checkout.endings import reject
from contexts.orders.checkout.pauses import Pause, get_unpaid_hold
from contexts.orders.models import Order
from shop.errors import Closed, DomainError

REFUSALS: tuple[type[DomainError], ...] = (OutOfStock, UnknownSku, Closed)


def do(order: Order, next_step: str) -> Pause | None:
    """Reserve all lines for the time in which the order has to be paid."""
    lines = tuple(Line(sku=line.sku, quantity=line.quantity) for line in order.lines.all())
    inventory.reserve(order_id=order.id, lines=lines, hold=get_unpaid_hold())
    order.step = next_step
    return None


def on_refused(order: Order, refusal: DomainError, undo_step: str) -> None:
    """Reject the order."""
    reject(order, refusal, undo_step=undo_step)


def undo(order: Order, next_step: str) -> Pause | None:
    """Release the stock. By the table in runner.py the payment is undone first: no customer pays for stock sold again."""
    inventory.release(order_id=order.id)
    order.step = next_step
    return None
