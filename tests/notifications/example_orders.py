"""Example orders, and a fake of the orders context that describes them."""

from collections.abc import Callable
from uuid import UUID

from contexts.orders.interface import OrderLine, Orders, OrderSummary
from shop.errors import Unavailable
from shop.ids import readable_number, uuid7
from shop.money import Money


class FakeOrders(Orders):
    """A fake of orders that can be down, records the requested ids, and calls a test back on its next request."""

    orders: dict[UUID, OrderSummary] = {}
    requested_ids: list[tuple[UUID, ...]] = []
    is_down = False
    on_request: Callable[[], None] | None = None

    def summaries(self, *, order_ids: tuple[UUID, ...]) -> tuple[OrderSummary, ...]:
        if FakeOrders.is_down:
            raise Unavailable(what="orders")
        FakeOrders.requested_ids.append(order_ids)
        callback, FakeOrders.on_request = FakeOrders.on_request, None
        if callback:
            callback()
        return tuple(FakeOrders.orders[order_id] for order_id in order_ids if order_id in FakeOrders.orders)

    def search(self, *, term: str) -> tuple[UUID, ...]:
        return tuple(order.id for order in FakeOrders.orders.values() if term.upper() in order.number)


def add_order(*, email: str | None = None, user_id: UUID | None = None, name: str = "Mug <& saucer>") -> OrderSummary:
    """Add an order to FakeOrders, by default of a guest."""
    order_id, number = uuid7(), readable_number()
    line = OrderLine(sku="MUG-1", name=name, quantity=2, unit_price=Money(999, "EUR"), total=Money(1998, "EUR"))
    FakeOrders.orders[order_id] = OrderSummary(
        id=order_id,
        number=number,
        status="confirmed",
        email=email or f"{number.lower()}@example.com",
        user_id=user_id,
        lines=(line,),
        total=Money(1998, "EUR"),
    )
    return FakeOrders.orders[order_id]
