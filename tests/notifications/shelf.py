"""A few orders, as the context above which notifications stands would describe them."""

from collections.abc import Callable
from uuid import UUID

from contexts.orders.interface import OrderLine, Orders, OrderSummary
from shop.errors import Unavailable
from shop.ids import readable_number, uuid7
from shop.money import Money


class FewOrders(Orders):
    """Stands in for orders. It can be down, counts its questions, and tells a test that it was asked."""

    known: dict[UUID, OrderSummary] = {}
    asked: list[tuple[UUID, ...]] = []
    down = False
    when_asked: Callable[[], None] | None = None

    def summaries(self, *, order_ids: tuple[UUID, ...]) -> tuple[OrderSummary, ...]:
        if FewOrders.down:
            raise Unavailable(what="orders")
        FewOrders.asked.append(order_ids)
        then, FewOrders.when_asked = FewOrders.when_asked, None
        if then:
            then()
        return tuple(FewOrders.known[order_id] for order_id in order_ids if order_id in FewOrders.known)


def put(*, email: str | None = None, user_id: UUID | None = None, name: str = "Mug <& saucer>") -> OrderSummary:
    """Have one more order on the shelf, of a guest unless told otherwise."""
    order_id, number = uuid7(), readable_number()
    line = OrderLine(sku="MUG-1", name=name, quantity=2, unit_price=Money(999, "EUR"), total=Money(1998, "EUR"))
    FewOrders.known[order_id] = OrderSummary(
        id=order_id, number=number, status="confirmed", email=email or f"{number.lower()}@example.com",
        user_id=user_id, lines=(line,), total=Money(1998, "EUR"),
    )  # fmt: skip
    return FewOrders.known[order_id]
