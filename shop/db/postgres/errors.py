"""Translation of database errors that Django does not classify."""

from types import TracebackType

import psycopg
from django.db import DatabaseError, OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import DatabaseErrorWrapper
from psycopg.errors import IdleInTransactionSessionTimeout, ReadOnlySqlTransaction

NOTHING_CHANGED = "NC001"  # SQLSTATE of the function shop_nothing_changed


class NoRowChanged(DatabaseError):
    """A statement that has to change a row changed none, so its transaction was aborted. The argument is its label."""


class ErrorWrapper(DatabaseErrorWrapper):
    """Raise NoRowChanged, and OperationalError for two outages that psycopg classifies as internal errors.

    These are a server that is read-only for a while, and a session that the server ended because its process was
    stopped in the middle of a transaction.
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
        if isinstance(exc_value, ReadOnlySqlTransaction | IdleInTransactionSessionTimeout):
            self.wrapper.errors_occurred = True  # so that Django checks the connection before its next use
            raise OperationalError(*exc_value.args).with_traceback(traceback) from exc_value
        super().__exit__(exc_type, exc_value, traceback)
