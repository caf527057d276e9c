"""manage.py peel: a context's database moves to another server, under running orders, and back."""

from pathlib import Path
from typing import Any

import psycopg
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError

from config.peel import configuration
from config.peel.configuration import Address
from config.peel.database import StillThere
from config.peel.move import Different, Move, Refused
from config.peel.plan import plan, problems
from config.peel.stream import Stuck
from config.settings import postgres


class Command(BaseCommand):
    help = "Move a context's database to another server while the shop sells. Goes on where it was cut off."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("context", choices=settings.CONTEXTS)
        parser.add_argument("--to", required=True, help="the new database, as its administrator: postgres://user:password@host/name")
        where = "today's server, as its administrator, by a name that the new one reaches (default: DATABASE_URL)"
        parser.add_argument("--from", dest="here", help=where)
        parser.add_argument("--at", metavar="HOST:PORT", help="where its process is to answer (default: <context>:8000)")
        parser.add_argument("--shop-at", metavar="HOST:PORT", default="shop:8000", help="where the others answer (%(default)s)")
        parser.add_argument("--write", type=Path, metavar="FOLDER", help="write what the processes are to be configured with")
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--plan", action="store_true", help="say what would move and what it would cost; change nothing")
        what.add_argument("--rollback", action="store_true", help="back to where it was, with all that was written since")
        what.add_argument("--finish", action="store_true", help="stop carrying back what is written: the old database may go")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            target = postgres("--to", options["to"])
            server = postgres("--from", options["here"]) if options["here"] else settings.DATABASE_SERVER
            move = Move(options["context"], server, target, self._say)
            if options["rollback"]:
                move.roll_back()
            elif options["finish"]:
                move.finish()
            else:
                self._go_on(move, options["plan"])
            if options["write"]:
                self._write(options["write"], move, options["at"] or f"{move.context}:8000", options["shop_at"])
        except (Refused, Different, Stuck, StillThere, ImproperlyConfigured, ValueError, psycopg.Error) as error:
            raise CommandError(str(error)) from None

    def _go_on(self, move: Move, only_plan: bool) -> None:
        if not move.step:
            if only_plan:
                self._say(plan(move))
            if found := problems(move):
                raise Refused("It cannot move:" + "".join(f"\n- {problem}" for problem in found))
        if not only_plan:
            move.run()

    def _write(self, folder: Path, move: Move, at: str, shop_at: str) -> None:
        folder = folder.resolve()
        files = configuration.files(folder, move.context, move.new.place, Address.of(at), Address.of(shop_at))
        configuration.write(folder, files)
        self._say(f"  wrote {', '.join(files)} to {folder}")

    def _say(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()
