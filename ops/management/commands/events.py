"""manage.py events: list the events that handlers failed on for good (parked events), and replay or discard them."""

from collections.abc import Sequence

from django.core.management.base import BaseCommand, CommandError, CommandParser

from shop.audit import audit
from shop.db.database import hosted_contexts, transaction
from shop.errors import DomainError
from shop.messaging import parking

ACTOR = "command line"
MAX_REPLAYED_EVENTS = 10_000  # of one command without ids


class Command(BaseCommand):
    help = "List parked events; replay or discard them."

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        verbs.add_parser("parked", help="list the parked events of every hosted context")
        replay = verbs.add_parser("replay", help="let the handlers process parked events again")
        replay.add_argument("context", choices=hosted_contexts())
        replay.add_argument("ids", nargs="*", type=int, help="ids as listed by `events parked` (default: all)")
        discard = verbs.add_parser("discard", help="skip a parked event for good, so that its stream continues")
        discard.add_argument("context", choices=hosted_contexts())
        discard.add_argument("id", type=int, help="id as listed by `events parked`")
        discard.add_argument("--reason", required=True, help="recorded in the audit log")

    def handle(
        self, *, verb: str, context: str = "", ids: Sequence[int] = (), id: int = 0, reason: str = "", **_: object
    ) -> None:  # fmt: skip
        if verb == "parked":
            self._list_parked()
        elif verb == "replay":
            self._replay(context, list(ids))
        else:
            self._discard(context, id, reason)

    def _list_parked(self) -> None:
        for context in hosted_contexts():
            for row in parking.list_parked(context):
                self.stdout.write(f"{context} {row.pk} {row.handler} {row.stream}#{row.sequence} {row.error}")

    def _replay(self, context: str, ids: list[int]) -> None:
        ids = ids or [row.pk for row in parking.list_parked(context, limit=MAX_REPLAYED_EVENTS)]
        with transaction(context):
            replayed = parking.replay(context, ids)
            audit(context, actor=ACTOR, action="replay event", object_type="inboxrow", object_id=ids)
        self.stdout.write(f"{replayed} of {len(ids)} events will be processed again")

    def _discard(self, context: str, row_id: int, reason: str) -> None:
        try:
            with transaction(context):
                parking.discard(context, row_id, reason=reason)
                audit(
                    context,
                    actor=ACTOR,
                    action="discard event",
                    object_type="inboxrow",
                    object_id=row_id,
                    reason=reason,
                )
        except DomainError as error:
            raise CommandError(str(error)) from None
