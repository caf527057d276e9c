"""manage.py peel: a context's database moves to another server, under running orders, and back."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import psycopg
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError

from config.peel import configuration
from config.peel.comparison import Different
from config.peel.configuration import Address
from config.peel.database import StillThere
from config.peel.move import Move, Refused
from config.peel.plan import misplaced, plan, problems
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
        what.add_argument("--password", action="store_true", help="SECRET_KEY was changed: tell the database where it is now")

    def handle(self, *args: Any, **options: Any) -> None:
        move = None
        try:
            target = postgres("--to", options["to"])
            here = postgres("--from", options["here"]) if options["here"] else settings.DATABASE_SERVER
            move = Move(options["context"], here, target, self._say)
            self._do(move, options)
        except (Refused, Different, Stuck, StillThere, ImproperlyConfigured, ValueError, psycopg.Error) as error:
            shut = f"\n{move.context} is shut until this is run again, or with --rollback." if move and move.is_shut else ""
            raise CommandError(f"{error}{shut}") from None

    def _do(self, move: Move, options: dict[str, Any]) -> None:
        if options["password"]:
            return move.set_password()
        if not options["here"]:
            move.refuse_another_server()
        if options["rollback"]:
            move.roll_back()
        elif options["finish"]:
            move.finish()
        else:
            self._go_on(move, options["plan"])
            if options["write"]:
                self._write(options["write"], move, options["at"] or f"{move.context}:8000", options["shop_at"])

    def _go_on(self, move: Move, only_plan: bool) -> None:
        if not move.step:
            self._refuse(misplaced(move))
        if only_plan:
            self._say(f"Under way: it is {move.step}." if move.step else plan(move))
        if not move.step:
            self._refuse(problems(move))
        if not only_plan:
            move.run()

    def _refuse(self, problems: Iterable[str]) -> None:
        if said := "".join(f"\n- {problem}" for problem in problems):
            raise Refused(f"It cannot move:{said}")

    def _write(self, folder: Path, move: Move, at: str, shop_at: str) -> None:
        folder = folder.resolve()
        files = configuration.files(folder, move.new, move.context, Address.of(at), Address.of(shop_at))
        configuration.write(folder, files)
        self._say(f"  wrote {', '.join(files)} to {folder}")

    def _say(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()
