"""The move itself, step by step. Each step may be repeated, so that a move goes on wherever it was cut off.

    made       the new database has role and tables, and nobody may log in
    copied     every row is there, and each new one follows
    mirrored   what will be written there will come back here
    moved      the cut-over: nobody reads or writes for a moment, and then everybody there
    verified   at the moment of the cut both were the same

From any of them it can be `returning`, which then is the only way.
"""

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import psycopg
from django.conf import settings
from psycopg import sql

from config.directory import Directory, administrator, create
from config.peel.comparison import Different, compare, count, snapshot
from config.peel.configuration import url
from config.peel.database import Database
from config.peel.stream import Stream
from shop import chaos
from shop.postgres.moves import Place

STEPS = ("begun", "made", "copied", "mirrored", "moved", "verified")
RETURNING = "returning"
CLOSE_ENOUGH = 0.1  # seconds from a commit to its arrival; before that there is no cut-over
CATCH_UP = 60.0
DRAIN = 3.0  # seconds that the last commits may take; else everybody goes on where they were


class Refused(Exception):
    """The move cannot be made, or not now; nothing has changed."""


class Move:
    """One context's move from the database it is in to another one, and the way back.

    `is_shut` tells that nobody may log in at either place, until this goes on.
    """

    is_shut = False
    snapshots: tuple[psycopg.Connection, psycopg.Connection] | None = None

    def __init__(self, context: str, server: dict[str, Any], target: dict[str, Any], say: Callable[[str], None]) -> None:
        """`server`, `target`: how an administrator gets to the server of today, and to the new database. Raises Refused."""
        self.context, self.say = context, say
        self.directory = Directory()
        if not self.directory.mine_alone(context):
            raise Refused(f"Somebody else is moving {context}")
        begun = self.directory.move(context)
        here = begun[0] if begun else self.directory.place(context)._replace(moving=False)
        name = f"{settings.DATABASE_PREFIX}_{context}_{here.epoch + 1}"
        there = Place(here.epoch + 1, target["HOST"], str(target["PORT"] or ""), target["NAME"], name)
        if begun and begun[1] != there:
            raise Refused(f"{context} is on its way to {begun[1].dbname} at {begun[1].host}: finish that, or roll it back")
        self.step = begun[2] if begun else ""
        self.old, self.new = Database(server, here), Database(target, there)
        self.there = Stream(f"{name}_there", self.old, self.new)
        self.back = Stream(f"{name}_back", self.new, self.old)

    def refuse_another_server(self) -> None:
        """Raises Refused where `server`, which nobody has named, is not the one that the context leaves."""
        at, said = self.old.place, self.old.server
        if (at.host, at.port) != (said["HOST"], str(said["PORT"] or "")):
            raise Refused(f"{self.context} is at {at.host}, which is not DATABASE_URL's server: --from has to name it")

    # --- There

    def run(self) -> None:
        """All steps that are left."""
        if self.step == RETURNING:
            raise Refused(f"{self.context} is on its way back: only --rollback goes on with that")
        if not self.step:
            self.directory.put(self.context, self.old.place)  # whoever is configured for the new one works here until then
            self._done("begun")
        for step, work in (
            ("made", self._make), ("copied", self._copy), ("mirrored", self._mirror), ("moved", self._cut_over),
            ("verified", self._verify),
        ):  # fmt: skip
            if STEPS.index(self.step) < STEPS.index(step):
                chaos.call(f"peel.{step}", work)
                self._done(step)

    def _done(self, step: str) -> None:
        self.step = step
        self.directory.record(self.context, self.old.place, self.new.place, step)

    def _make(self) -> None:
        """Until the tables are there, under a password that no process of the context has: none may write here yet."""
        for_now = secrets.token_hex(16)
        with administrator(self.new.server, "postgres") as connection:
            create(connection, self.new.place.dbname, self.new.place.user, for_now)
            names = map(sql.Identifier, (self.new.place.dbname, self.new.place.user))
            connection.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(*names))
        self.new.begin_anew()
        self.new.open()
        self._migrate(for_now)
        self.new.fence()
        self.new.set_password(settings.DATABASES[self.context]["PASSWORD"])
        self._refuse_other_tables()
        self.new.clear()

    def _migrate(self, password: str) -> None:
        own = {f"{self.context.upper()}_DATABASE_URL": url(self.new.place, password, self.new.server)}
        command = [sys.executable, str(settings.BASE_DIR / "manage.py"), "migrate", "--database", self.context, "--skip-checks"]
        done = subprocess.run(command, env=os.environ | own, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Refused(f"The new database cannot be migrated: {done.stderr.strip()}")

    def _refuse_other_tables(self) -> None:
        if self.old.migrations() != self.new.migrations():
            raise Refused("One side has been migrated, and only rows are carried over: begin again, with both at one release")

    def _copy(self) -> None:
        self.there.start(copy=True)
        self.there.await_copy(lambda how_far: self.say(f"  copied {how_far}"))

    def _mirror(self) -> None:
        self.back.start(copy=False)
        self.back.await_copy(lambda _: None)
        self.back.carry_through(CATCH_UP)

    # --- The cut-over

    def _cut_over(self) -> None:
        if self.directory.place(self.context).epoch == self.new.place.epoch:  # it was cut off after the decision
            return self._let_in(self.new, self.new.place)
        self._cut(self.old, self.new, self.there, self.new.place.epoch)

    def _cut(self, old: Database, new: Database, stream: Stream, epoch: int) -> None:
        """From old to new, whichever way. Whatever goes wrong before the decision leaves everybody where they were."""
        old.open()  # it was cut off in the middle
        self._refuse_other_tables()
        self._await_close(stream)
        began, self.is_shut = time.monotonic(), True
        self.directory.put(self.context, old.place._replace(moving=True, epoch=epoch - 1))
        try:
            chaos.call("peel.fence", old.fence)
            chaos.call("peel.drain", stream.carry_through, DRAIN)
            new.advance(old.sequences())
            if stream is self.there:  # on the way back nothing is better than what there is
                count(old, new)
            self.snapshots = snapshot(old), snapshot(new)
        except BaseException:
            self._let_in(old, old.place._replace(epoch=epoch - 1))
            raise
        chaos.call("peel.decide", self.directory.put, self.context, new.place._replace(epoch=epoch, moving=True))
        self._let_in(new, new.place._replace(epoch=epoch))
        self.say(f"  nobody could write for {time.monotonic() - began:.3f} s")

    def _let_in(self, side: Database, place: Place) -> None:
        chaos.call("peel.open", side.open)
        self.directory.put(self.context, place)
        self.is_shut = False

    def _await_close(self, stream: Stream) -> None:
        deadline = time.monotonic() + CATCH_UP
        while (late := stream.carry_through(CATCH_UP)) > CLOSE_ENOUGH:
            if time.monotonic() > deadline:
                raise Refused(f"The new database stays {late:.1f} s behind; try again when there is less to do")

    # --- Verification

    def _verify(self) -> None:
        """Compare every row at the moment of the cut. What differs sends everybody back."""
        tables = self.old.tables()
        try:
            found = compare(tables, *(self.snapshots or self._snapshots_of_one_moment()))
        except Different as difference:
            self.roll_back()
            raise Different(f"Not the same at the cut, so all are back where they were: {difference}") from None
        self.say(f"  {found} rows in {len(tables)} tables are the same")

    def _snapshots_of_one_moment(self) -> tuple[psycopg.Connection, psycopg.Connection]:
        """Once more, where the command that had them was cut off."""
        self.is_shut = True
        self.directory.put(self.context, self.new.place._replace(moving=True))
        try:
            chaos.call("peel.fence", self.new.fence)
            self.back.carry_through(DRAIN)
            return snapshot(self.old), snapshot(self.new)
        finally:
            self._let_in(self.new, self.new.place)

    # --- Back, and the end

    def roll_back(self) -> None:
        """To where it was, with all that has been written since. Raises Refused where nothing has carried that back."""
        if not self.step:
            raise Refused(f"No move of {self.context} is under way; to move it back is another move, to an empty database")
        here, there, now = self.old.place, self.new.place, self.directory.place(self.context)
        if now.epoch == there.epoch and not self.back.exists():
            raise Refused("Nothing carries back what has been written since; `manage.py peel` to another database does")
        self._done(RETURNING)
        if now.epoch == there.epoch:
            self._cut(self.new, self.old, self.back, there.epoch + 1)
        else:  # it had not left yet, or was back already
            self._let_in(self.old, here._replace(epoch=now.epoch))
        self._end()

    def finish(self) -> None:
        """Stop carrying back what is written. Raises Refused before the move is verified."""
        if self.step != STEPS[-1]:
            raise Refused(f"The move of {self.context} is not over; without --finish it goes on")
        self._end()

    def _end(self) -> None:
        """Nothing is carried any more; what is left at a server that does not answer is said."""
        for which, side, end in (
            ("new", self.new, self.there.drop_at_target), ("old", self.old, self.back.drop_at_target),
            ("old", self.old, self.there.drop_at_source), ("new", self.new, self.back.drop_at_source),
            ("old", self.old, self.old.forget_marks), ("new", self.new, self.new.forget_marks),
        ):  # fmt: skip
            try:
                end()
            except psycopg.OperationalError as error:
                self.say(f"  left behind at the {which} server, in {side.place.dbname}: {error}")
        self.directory.forget(self.context)

    def set_password(self) -> None:
        """Give the role the context's password of today, after it was changed. Raises Refused where it is not there."""
        now = self.directory.place(self.context)
        if self.step or now[1:4] != self.new.place[1:4]:
            raise Refused(f"{self.context} is in {now.dbname} at {now.host}")
        Database(self.new.server, now).set_password(settings.DATABASES[self.context]["PASSWORD"])
