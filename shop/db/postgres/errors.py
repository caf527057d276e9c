"""Translation of database errors that Django does not classify, without the values that they quote."""

import re
from types import TracebackType

import psycopg
from django.db import DatabaseError, OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import DatabaseErrorWrapper
from psycopg.errors import DiskFull, IdleInTransactionSessionTimeout, ReadOnlySqlTransaction

from shop.db.postgres.disk_space import note_full_disk

NOTHING_CHANGED = "NC001"  # SQLSTATE of the function shop_nothing_changed
# SQLSTATEs of invalid values, and of syntax errors, whose messages quote them.
QUOTES_VALUES = re.compile(r"22...|42601")


class NoRowChanged(DatabaseError):
    """A statement that has to change a row changed none, so its transaction was aborted. The argument is its label."""


class ErrorWrapper(DatabaseErrorWrapper):
    """Raise NoRowChanged, and OperationalError for two outages that psycopg classifies as internal errors.

    These are a server that is read-only for a while, and a session that the server ended because its process was
    stopped in the middle of a transaction. Errors keep the primary message of PostgreSQL only, since they are logged: its
    details, and its excerpt of the statement, have values of rows, which are personal data.
    """

    wrapper: BaseDatabaseWrapper

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(exc_value, psycopg.Error) and exc_value.sqlstate == NOTHING_CHANGED:
            raise NoRowChanged(exc_value.diag.message_primary) from None
        if isinstance(exc_value, psycopg.Error) and exc_value.diag.message_primary:
            exc_value.args = (describe_without_values(exc_value),)
        if isinstance(exc_value, DiskFull):
            note_full_disk(self.wrapper.alias)
        if isinstance(exc_value, ReadOnlySqlTransaction | IdleInTransactionSessionTimeout):
            self.wrapper.errors_occurred = True  # so that Django checks the connection before its next use
            raise OperationalError(*exc_value.args).with_traceback(traceback) from exc_value
        super().__exit__(exc_type, exc_value, traceback)


def describe_without_values(error: psycopg.Error) -> str:
    """Return the primary message of PostgreSQL, without values that it quotes."""
    message = error.diag.message_primary or ""
    return re.sub('".*"', '"…"', message, flags=re.DOTALL) if QUOTES_VALUES.fullmatch(error.sqlstate or "") else message
