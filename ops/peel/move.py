"""Move a context's database step by step. Each step can be repeated, so that an interrupted move can be resumed.

    made       the new database has role and tables, and no process can log in
    copied     every row has been copied, and each new one is replicated
    mirrored   what will be written to the new database will be replicated back
    moved      the cut-over: no process can read or write for a moment, and then all of them use the new database
    verified   both databases had the same rows at the moment of the cut-over

Each step may be followed by `returning`, the rollback, which then is the only way to continue.
"""

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable

import psycopg
from django.conf import settings

from ops.peel.comparison import DatabasesDiffer, compare_row_counts, compare_rows, open_snapshot
from ops.peel.configuration import build_database_url
from ops.peel.database import Database
from ops.peel.directory import Directory, ServerSettings, UnfinishedMove, connect_as_administrator, create_database
from ops.peel.replication import Replication
from shop import chaos
from shop.db.postgres.locations import DatabaseLocation
from shop.text import format_count

STEPS = ("begun", "made", "copied", "mirrored", "moved", "verified")
RETURNING = "returning"
MAX_CUT_OVER_LAG_SECONDS = 0.1  # the cut-over starts only when commits arrive at the target within this time
CATCH_UP_TIMEOUT_SECONDS = 60.0
DRAIN_TIMEOUT_SECONDS = 3.0  # how long the last commits may take during the cut-over; after that it is cancelled


class MoveRefused(Exception):
    """The move cannot be made, or not now; nothing has changed."""


class Move:
    """The move of one context from its current database to another one, and the way back.

    `is_fenced` is true while no process can log in at either location; the move must then be resumed or rolled back.
    """

    is_fenced = False
    snapshots: tuple[psycopg.Connection, psycopg.Connection] | None = None

    def __init__(
        self, context: str, server: ServerSettings, target: ServerSettings, report: Callable[[str], None]
    ) -> None:
        """Take the lock and find the state of the move. Raises MoveRefused.

        `server` and `target` are the administrator's URLs of the current server and of the new database.
        """
        self.context, self.report = context, report
        self.directory = Directory()
        if not self.directory.try_lock(context):
            raise MoveRefused(f"Another command is moving {context}; wait until it has ended")
        unfinished = self.directory.get_move(context)
        source_location = (
            unfinished.source if unfinished else self.directory.get_location(context)._replace(moving=False)
        )
        epoch = source_location.epoch + 1
        name = f"{settings.DATABASE_PREFIX}_{context}_{epoch}"
        target_location = DatabaseLocation(epoch, target["HOST"], str(target["PORT"] or ""), target["NAME"], name)
        if unfinished and unfinished.target != target_location:
            raise MoveRefused(
                f"{context} is being moved to {unfinished.target.dbname} at {unfinished.target.host}: "
                "resume that move with the same --to, or roll it back"
            )
        self.step = unfinished.step if unfinished else ""
        self.old, self.new = Database(server, source_location), Database(target, target_location)
        self.forward = Replication(f"{name}_there", self.old, self.new)
        self.back = Replication(f"{name}_back", self.new, self.old)

    def assert_source_is_configured_server(self) -> None:
        """Raise MoveRefused if the context is not on the server of DATABASE_URL, and --from has not named another one."""
        location, server = self.old.location, self.old.server
        if (location.host, location.port) != (server["HOST"], str(server["PORT"] or "")):
            raise MoveRefused(
                f"{self.context} is at {location.host}, which is not the server of DATABASE_URL: name it with --from"
            )

    # --- Forward

    def run(self) -> None:
        """Do all steps that remain. Raises MoveRefused if the move is being rolled back."""
        if self.step == RETURNING:
            raise MoveRefused(f"{self.context} is being rolled back: continue with --rollback")
        if not self.step:
            # Until the cut-over, a process that is already configured for the new database uses the current one.
            self.directory.save_location(self.context, self.old.location)
            self._record_step("begun")
        for step, work in (
            ("made", self._create_target), ("copied", self._copy), ("mirrored", self._mirror), ("moved", self._cut_over),
            ("verified", self._verify),
        ):  # fmt: skip
            if STEPS.index(self.step) < STEPS.index(step):
                chaos.call_with_points(f"peel.{step}", work)
                self._record_step(step)

    def _record_step(self, step: str) -> None:
        self.step = step
        self.directory.save_move(self.context, UnfinishedMove(self.old.location, self.new.location, step))

    def _create_target(self) -> None:
        """Create the new database with its tables, and lock it.

        Until it is locked it has a temporary password that no process of the context knows, so that none can write to it.
        """
        temporary_password = secrets.token_hex(16)
        with connect_as_administrator(self.new.server, "postgres") as connection:
            create_database(connection, self.new.location.dbname, self.new.location.user, temporary_password)
        self.new.recreate_schema()
        self.new.open()
        self._migrate(temporary_password)
        self.new.fence()
        self.new.set_password(settings.DATABASES[self.context]["PASSWORD"])
        self._assert_same_migrations()
        self.new.limit_role()
        self.new.clear()

    def _migrate(self, password: str) -> None:
        own = {f"{self.context.upper()}_DATABASE_URL": build_database_url(self.new.location, password, self.new.server)}
        arguments = ["migrate", "--database", self.context, "--skip-checks"]
        command = [sys.executable, str(settings.BASE_DIR / "manage.py"), *arguments]
        done = subprocess.run(command, env=os.environ | own, capture_output=True, text=True, check=False)
        if done.returncode:
            raise MoveRefused(f"The migrations of the new database failed: {done.stderr.strip()}")

    def _assert_same_migrations(self) -> None:
        if self.old.list_migrations() != self.new.list_migrations():
            raise MoveRefused(
                "One database has been migrated during the move, but only rows are replicated: "
                "roll back, and start again with both at one release"
            )

    def _copy(self) -> None:
        self.forward.start(copy=True)
        self.forward.await_copy(lambda progress: self.report(f"  copied {progress}"))

    def _mirror(self) -> None:
        self.back.start(copy=False)
        self.back.await_copy(lambda _: None)
        self.back.await_catch_up(CATCH_UP_TIMEOUT_SECONDS)

    # --- The cut-over

    def _cut_over(self) -> None:
        if self.directory.get_location(self.context).epoch == self.new.location.epoch:  # interrupted after the decision
            return self._admit_clients(self.new, self.new.location)
        self._switch_over(self.old, self.new, self.forward, self.new.location.epoch)

    def _switch_over(self, old: Database, new: Database, stream: Replication, epoch: int) -> None:
        """Move all processes from `old` to `new`, in either direction. Before the decision, any error cancels it."""
        old.open()  # an interrupted switch-over may have left it locked
        self._assert_same_migrations()
        self._await_low_lag(stream)
        started_at, self.is_fenced = time.monotonic(), True
        self.directory.save_location(self.context, old.location._replace(moving=True, epoch=epoch - 1))
        try:
            chaos.call_with_points("peel.fence", old.fence)
            chaos.call_with_points("peel.drain", stream.await_catch_up, DRAIN_TIMEOUT_SECONDS)
            new.advance_sequences(old.read_sequences())
            if stream is self.forward:  # on the way back there is no better copy to stay with
                compare_row_counts(old, new)
            self.snapshots = open_snapshot(old), open_snapshot(new)
        except BaseException:
            self._admit_clients(old, old.location._replace(epoch=epoch - 1))
            raise
        chaos.call_with_points(
            "peel.decide", self.directory.save_location, self.context, new.location._replace(epoch=epoch, moving=True)
        )
        self._admit_clients(new, new.location._replace(epoch=epoch))
        self.report(f"  writes were blocked for {time.monotonic() - started_at:.3f} s")

    def _admit_clients(self, side: Database, location: DatabaseLocation) -> None:
        chaos.call_with_points("peel.open", side.open)
        self.directory.save_location(self.context, location)
        self.is_fenced = False

    def _await_low_lag(self, stream: Replication) -> None:
        deadline = time.monotonic() + CATCH_UP_TIMEOUT_SECONDS
        while (lag := stream.await_catch_up(CATCH_UP_TIMEOUT_SECONDS)) > MAX_CUT_OVER_LAG_SECONDS:
            if time.monotonic() > deadline:
                raise MoveRefused(f"The new database stays {lag:.1f} s behind; try again when there is less load")

    # --- Verification

    def _verify(self) -> None:
        """Compare every row at the moment of the cut-over. A difference rolls the move back; raises DatabasesDiffer."""
        tables = self.old.list_tables()
        try:
            count = compare_rows(tables, *(self.snapshots or self._take_matching_snapshots()))
        except DatabasesDiffer as difference:
            self.roll_back()
            raise DatabasesDiffer(
                f"The databases differed at the cut-over, so the move was rolled back: {difference}"
            ) from None
        self.report(f"  {format_count(count, 'row')} in {format_count(len(tables), 'table')} are equal")

    def _take_matching_snapshots(self) -> tuple[psycopg.Connection, psycopg.Connection]:
        """Fence once more to take snapshots, since those of an interrupted command are lost."""
        self.is_fenced = True
        self.directory.save_location(self.context, self.new.location._replace(moving=True))
        try:
            chaos.call_with_points("peel.fence", self.new.fence)
            self.back.await_catch_up(DRAIN_TIMEOUT_SECONDS)
            return open_snapshot(self.old), open_snapshot(self.new)
        finally:
            self._admit_clients(self.new, self.new.location)

    # --- Back, and the end

    def roll_back(self) -> None:
        """Move back to the old database, with all that was written since. Raises MoveRefused if that was not replicated."""
        if not self.step:
            raise MoveRefused(
                f"No move of {self.context} is under way; to move it back, move it to an empty database of the old server"
            )
        old_location, new_location, current = (
            self.old.location,
            self.new.location,
            self.directory.get_location(self.context),
        )
        if current.epoch == new_location.epoch and not self.back.exists():
            raise MoveRefused(
                "What was written since the cut-over is not replicated back; move to another database with `manage.py peel`"
            )
        self._record_step(RETURNING)
        if current.epoch == new_location.epoch:
            self._switch_over(self.new, self.old, self.back, new_location.epoch + 1)
        else:  # the cut-over had not happened, or was undone already
            self._admit_clients(self.old, old_location._replace(epoch=current.epoch))
        self._remove_replication()

    def finish(self) -> None:
        """End the replication back to the old database. Raises MoveRefused before the move is verified."""
        if self.step != STEPS[-1]:
            raise MoveRefused(
                f"The move of {self.context} has not been completed; run the command without --finish first"
            )
        self._remove_replication()

    def _remove_replication(self) -> None:
        """Remove replication in both directions, and report what had to be left at a server that does not respond."""
        for server, side, remove in (
            ("new", self.new, self.forward.drop_subscription), ("old", self.old, self.back.drop_subscription),
            ("old", self.old, self.forward.drop_publication), ("new", self.new, self.back.drop_publication),
            ("old", self.old, self.old.drop_marks_table), ("new", self.new, self.new.drop_marks_table),
        ):  # fmt: skip
            try:
                remove()
            except psycopg.OperationalError as error:
                self.report(f"  left behind at the {server} server, in {side.location.dbname}: {error}")
        self.directory.delete_move(self.context)

    def update_role(self) -> None:
        """Set the password and the rights of the moved role, as `manage.py databases` does for one that has not moved.

        Raises MoveRefused if the context is elsewhere.
        """
        current = self.directory.get_location(self.context)
        if self.step or current[1:4] != self.new.location[1:4]:
            raise MoveRefused(f"{self.context} is in {current.dbname} at {current.host}, not where --to points")
        database = Database(self.new.server, current)
        password = settings.DATABASES[self.context]["PASSWORD"]
        create_database(database.connection, current.dbname, current.user, password)
        database.limit_role()
