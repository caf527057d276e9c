"""manage.py events: list the events that are no longer retried (parked events), and replay or discard them."""

from collections.abc import Sequence

from django.core.management.base import BaseCommand, CommandError, CommandParser

from shop.db.database import hosted_contexts
from shop.errors import DomainError
from shop.messaging import parking
from shop.messaging.parking import ParkedId
from shop.text import format_count

ACTOR = "command line"


class Command(BaseCommand):
    help = "List parked events, those whose handler failed and those that their subscriber refused; replay or discard them."

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        verbs.add_parser("parked", help="list the parked events of every hosted context")
        replay = verbs.add_parser("replay", help="deliver parked events or let the handlers process them again")
        replay.add_argument("context", choices=hosted_contexts())
        replay.add_argument(
            "ids", nargs="*", type=parking.parse_id, help="ids as listed by `events parked` (default: all)"
        )
        discard = verbs.add_parser("discard", help="skip a parked event permanently")
        discard.add_argument("context", choices=hosted_contexts())
        discard.add_argument("id", type=parking.parse_id, help="id as listed by `events parked`")
        discard.add_argument("--reason", required=True, help="recorded in the audit log")

    def handle(
        self, *, verb: str, context: str = "", ids: Sequence[ParkedId] = (), id: ParkedId | None = None, reason: str = "",
        **_: object,
    ) -> None:  # fmt: skip
        if verb == "parked":
            self._list_parked()
        elif verb == "replay":
            self._replay(context, list(ids))
        elif id is not None:
            self._discard(context, id, reason)

    def _list_parked(self) -> None:
        for context in hosted_contexts():
            for row in parking.list_parked(context):
                event = f"{row.name} version {row.envelope['version']} {row.stream}#{row.sequence}"
                self.stdout.write(f"{context} {row.pk} {row.handler} {event} {row.error}")
            for delivery in parking.list_parked_deliveries(context):
                event = f"{delivery.event.name} version {delivery.event.version} {delivery.stream}#{delivery.sequence}"
                parked_id = ParkedId(delivery.pk, is_delivery=True)
                self.stdout.write(f"{context} {parked_id} {event} to {delivery.subscriber} {delivery.error}")

    def _replay(self, context: str, ids: list[ParkedId]) -> None:
        chosen = ids or _list_all(context)
        replayed = parking.replay_for_staff(context, chosen, actor=ACTOR)
        self.stdout.write(f"{replayed} of {format_count(len(chosen), 'event')} will be processed again")

    def _discard(self, context: str, parked: ParkedId, reason: str) -> None:
        if not reason.strip():
            raise CommandError("--reason is empty")
        try:
            parking.discard_for_staff(context, parked, actor=ACTOR, reason=reason)
        except DomainError as error:
            raise CommandError(str(error)) from None


def _list_all(context: str) -> list[ParkedId]:
    rows = [ParkedId(row.pk) for row in parking.list_parked(context)]
    deliveries = parking.list_parked_deliveries(context)
    return rows + [ParkedId(delivery.pk, is_delivery=True) for delivery in deliveries]
