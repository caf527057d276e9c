"""manage.py peel: move the database of a context to another server while the shop takes orders, and back."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psycopg
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser

from ops.peel import configuration
from ops.peel.addresses import read_server
from ops.peel.comparison import DatabasesDiffer
from ops.peel.configuration import Address
from ops.peel.database import SessionsStillOpen
from ops.peel.move import Move, MoveRefused
from ops.peel.plan import describe_plan, find_problems, find_source_problems
from ops.peel.replication import ReplicationStalled

MOVE_ERRORS = (
    MoveRefused, DatabasesDiffer, ReplicationStalled, SessionsStillOpen, ImproperlyConfigured, ValueError, psycopg.Error,
)  # fmt: skip
INTERRUPTED_STATUS = 130  # 128 plus the number of SIGINT, as in a shell


@dataclass(frozen=True)
class Options:
    """The options of the command line."""

    to: str
    source: str | None
    at: Address
    shop_at: Address
    write: Path | None
    plan: bool
    rollback: bool
    finish: bool
    password: bool


class Command(BaseCommand):
    help = "Move the database of a context to another server while the shop runs. An interrupted move is resumed."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("context", choices=settings.CONTEXTS)
        parser.add_argument(
            "--to",
            required=True,
            help="new database, with a superuser: postgres://user@host/name. Its password comes from PEEL_TO_PASSWORD, "
            "PEEL_TO_PASSWORD_FILE or PGPASSFILE",
        )
        parser.add_argument(
            "--from",
            dest="source",
            help="current server, with a superuser and a host that the new server can reach (default: DATABASE_URL). "
            "Its password comes from PEEL_FROM_PASSWORD, PEEL_FROM_PASSWORD_FILE or PGPASSFILE",
        )
        parser.add_argument(
            "--at", metavar="HOST:PORT", help="address of the context's own process (default: <context>:8000)"
        )
        parser.add_argument(
            "--shop-at", metavar="HOST:PORT", default="shop:8000",
            help="address of the processes of the other contexts (default: %(default)s)",
        )  # fmt: skip
        parser.add_argument(
            "--write",
            type=Path,
            metavar="FOLDER",
            help="write the configuration of the context's process and of the others",
        )
        action = parser.add_mutually_exclusive_group()
        action.add_argument(
            "--plan", action="store_true", help="print what would move and what it would cost; change nothing"
        )
        action.add_argument(
            "--rollback", action="store_true", help="move back to the old database, with everything written since"
        )
        action.add_argument(
            "--finish", action="store_true", help="end the replication to the old database, which may then be dropped"
        )
        action.add_argument(
            "--password",
            action="store_true",
            help="set the password of the moved role after a change of CREDENTIAL_KEY, and its rights after an upgrade",
        )

    def handle(
        self, *, context: str, to: str, source: str | None, at: str | None, shop_at: str, write: Path | None,
        plan: bool, rollback: bool, finish: bool, password: bool, **_: object,
    ) -> None:  # fmt: skip
        move = None
        try:
            options = Options(
                to=to, source=source, at=Address.of(at or f"{context}:8000"), shop_at=Address.of(shop_at),
                write=write and configuration.create_folder(write), plan=plan, rollback=rollback, finish=finish,
                password=password,
            )  # fmt: skip
            target = read_server("--to", to)
            server = read_server("--from", source) if source else settings.DATABASE_SERVER
            move = Move(context, server, target, self._print)
            self._dispatch(move, options)
        except MOVE_ERRORS as error:
            raise CommandError(f"{error}{_describe_lock(move)}") from None
        except KeyboardInterrupt:
            text = f"Interrupted. The same command continues.{_describe_lock(move)}"
            raise CommandError(text, returncode=INTERRUPTED_STATUS) from None

    def _dispatch(self, move: Move, options: Options) -> None:
        if options.password:
            return move.update_role()
        if not options.source:
            move.assert_source_is_configured_server()
        if options.rollback:
            move.roll_back()
        elif options.finish:
            move.finish()
        else:
            self._continue_move(move, only_plan=options.plan)
            if options.write:
                self._write(options.write, move, options.at, options.shop_at)

    def _continue_move(self, move: Move, *, only_plan: bool) -> None:
        if not move.step:
            self._raise_problems(find_source_problems(move))
        if only_plan:
            self._print(f"The move is under way; its last step is: {move.step}." if move.step else describe_plan(move))
        if not move.step:
            self._raise_problems(find_problems(move))
        if not only_plan:
            move.run()

    def _raise_problems(self, problems: Iterable[str]) -> None:
        if lines := "".join(f"\n- {problem}" for problem in problems):
            raise MoveRefused(f"The context cannot be moved:{lines}")

    def _write(self, folder: Path, move: Move, context_address: Address, shop: Address) -> None:
        files = configuration.render_files(folder, move.new, move.context, context_address, shop)
        configuration.write_files(folder, files)
        self._print(f"  wrote {', '.join(files)} to {folder}")

    def _print(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()


def _describe_lock(move: Move | None) -> str:
    """Say what the operator has to do if the move was left in the cut-over."""
    if move is None or not move.is_fenced:
        return ""
    return f"\nNo process can use {move.context} until you run this command again, or with --rollback."
