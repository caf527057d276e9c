"""manage.py events: what handlers gave up on; let it run again, or give it up."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from shop import inbox
from shop.audit import audit
from shop.database import hosted, transaction
from shop.errors import DomainError

ACTOR = "command line"


class Command(BaseCommand):
    help = "List parked events; replay or discard them."

    def add_arguments(self, parser: Any) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        verbs.add_parser("parked", help="list what is parked in every hosted context")
        replay = verbs.add_parser("replay", help="let parked events run again")
        replay.add_argument("context", choices=hosted())
        replay.add_argument("ids", nargs="*", type=int, help="none: all that are parked")
        discard = verbs.add_parser("discard", help="give up on a parked event, so that its stream goes on")
        discard.add_argument("context", choices=hosted())
        discard.add_argument("id", type=int)
        discard.add_argument("--reason", required=True)

    def handle(self, *args: Any, **options: Any) -> None:
        getattr(self, options["verb"])(options)

    def parked(self, options: dict[str, Any]) -> None:
        for context in hosted():
            for row in inbox.parked(context):
                self.stdout.write(f"{context} {row.pk} {row.handler} {row.stream}#{row.sequence} {row.error}")

    def replay(self, options: dict[str, Any]) -> None:
        context = options["context"]
        ids = options["ids"] or [row.pk for row in inbox.parked(context, limit=10_000)]
        with transaction(context):
            replayed = inbox.replay(context, ids)
            audit(context, actor=ACTOR, action="replay event", object_type="inboxrow", object_id=ids)
        self.stdout.write(f"{replayed} of {len(ids)} will run again")

    def discard(self, options: dict[str, Any]) -> None:
        context, row, reason = options["context"], options["id"], options["reason"]
        try:
            with transaction(context):
                inbox.discard(context, row, reason=reason)
                audit(context, actor=ACTOR, action="discard event", object_type="inboxrow", object_id=row, reason=reason)
        except DomainError as error:
            raise CommandError(str(error)) from None
