"""Use cases of payments: operations for other contexts, refunds for staff, and the processing of open payments."""

from uuid import UUID

from contexts.payments.interface import OrderNumber, Payment, PaymentMethod, Payments, Refund
from contexts.payments.service import attempts, capture_sets, operations, order_numbers
from shop.money import Money


class LocalPayments(Payments):
    """Implement the interface of payments in this process."""

    def authorize(
        self,
        *,
        order_id: UUID,
        amount: Money,
        method: PaymentMethod,
        customer_id: UUID | None = None,
        order_number: str = "",
    ) -> Payment:
        return operations.authorize(order_id, amount, method, customer_id, order_number)

    def capture(self, *, order_id: UUID) -> Payment:
        return operations.capture(order_id)

    def capture_orders(self, *, order_ids: tuple[UUID, ...]) -> tuple[Payment, ...]:
        return capture_sets.capture_orders(order_ids)

    def pay_again(self, *, order_id: UUID, attempt_id: UUID, method: PaymentMethod) -> Payment:
        return attempts.pay_again(order_id, attempt_id, method)

    def cancel(self, *, order_id: UUID) -> Payment | None:
        return operations.cancel(order_id)

    def sync(self, *, order_id: UUID) -> Payment | None:
        return operations.sync(order_id)

    def without_number(self, *, after: UUID | None = None) -> tuple[UUID, ...]:
        return order_numbers.find_missing(after)

    def set_numbers(self, *, numbers: tuple[OrderNumber, ...]) -> int:
        return order_numbers.fill(numbers)

    def of_orders(self, *, order_ids: tuple[UUID, ...]) -> tuple[Payment, ...]:
        return operations.of_orders(order_ids)

    def refunds_of_orders(self, *, order_ids: tuple[UUID, ...]) -> tuple[Refund, ...]:
        return operations.refunds_of_orders(order_ids)
