"""List the payments that staff have to decide about, and carry out a decision."""

from argparse import ArgumentParser
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError

from contexts.payments.service import captures, tasks
from shop.errors import DomainError
from shop.money import Money


class Command(BaseCommand):
    """List open tasks, or decide about one payment."""

    help = (
        "List the payments that staff have to decide about. With a payment id and an option, decide about it: every "
        "decision is written to the audit trail."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("payment", nargs="?", type=UUID, help="the id of a payment")
        decision = parser.add_mutually_exclusive_group()
        decision.add_argument("--retry", action="store_true", help="refund again what the provider refused")
        decision.add_argument("--capture", action="store_true", help="capture again what the provider refused")
        decision.add_argument("--mark-refunded", action="store_true", help="it was refunded by other means")
        decision.add_argument("--accept", action="store_true", help="accept it as it is; nothing more is refunded")
        parser.add_argument("--reason", default="", help="required to mark as refunded and to accept")
        parser.add_argument("--actor", default="command", help="who decides, for the audit trail")

    def handle(self, *args: Any, **options: Any) -> None:
        payment_id: UUID | None = options["payment"]
        is_decision = any(options[name] for name in ("retry", "capture", "mark_refunded", "accept"))
        if payment_id is None or not is_decision:
            if payment_id or is_decision:
                raise CommandError("Give the id of a payment and a decision, or neither to list the open tasks.")
            self._list()
            return
        try:
            self._decide(payment_id, options)
        except DomainError as error:
            raise CommandError(str(error)) from None

    def _list(self) -> None:
        for row in tasks.list_open():
            left = Money(row.refundable, row.currency)
            self.stdout.write(f"{row.id}  order {row.order_id}  {row.attention}  {left} not refunded")

    def _decide(self, payment_id: UUID, options: dict[str, Any]) -> None:
        actor, reason = options["actor"], options["reason"]
        if options["retry"]:
            row = tasks.retry(payment_id=payment_id, actor=actor)
        elif options["capture"]:
            row = captures.capture(payment_id=payment_id, actor=actor)
        elif options["mark_refunded"]:
            row = tasks.mark_refunded(payment_id=payment_id, reason=reason, actor=actor)
        else:
            row = tasks.accept(payment_id=payment_id, reason=reason, actor=actor)
        self.stdout.write(f"{row.id}  {row.status}  {row.attention or 'nothing to decide'}")
