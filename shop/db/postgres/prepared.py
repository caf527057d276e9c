"""Prepared statements: each connection plans them once, and several are sent in one message.

They use PostgreSQL's extended protocol, so values travel beside the statement and not inside of it, and libpq's pipeline
mode, so BEGIN, the statements of a transaction and COMMIT can be one message. A statement that fails prevents those after it.
"""

import hashlib
import itertools
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias

import psycopg
from psycopg.abc import Buffer, PQGen
from psycopg.abc import Transformer as Adapters
from psycopg.adapt import AdaptersMap, PyFormat, Transformer
from psycopg.errors import error_from_result
from psycopg.pq import ConnStatus, ExecStatus
from psycopg.pq.abc import PGconn, PGresult
from psycopg.types.array import ListDumper
from psycopg.waiting import READY_R, WAIT_R, WAIT_RW

Parameters = Sequence[Any] | Mapping[str, Any]  # values of all types that psycopg adapts


class PreparedStatement(str):
    """A statement that each connection plans once.

    Its parameters are all `%s` or all `%(name)s`. PostgreSQL infers their types from the statement.
    """

    def __init__(self, sql: str) -> None:
        self.parameter_names = list(dict.fromkeys(re.findall(r"%\((\w+)\)s", sql)))
        numbers = {f"%({name})s": f"${n}" for n, name in enumerate(self.parameter_names, 1)}
        count = itertools.count(1)
        numbered = re.sub(r"%(?:\(\w+\))?s", lambda placeholder: numbers.get(placeholder[0]) or f"${next(count)}", sql)
        self.name = f"{sql.split()[0].lower()}_{hashlib.sha256(sql.encode()).hexdigest()[:16]}".encode()
        self.numbered_sql = numbered.replace("%%", "%").encode()
        self.formats = [PyFormat.TEXT] * (len(self.parameter_names) or next(count) - 1)

    def order_parameters(
        self, parameters: Any
    ) -> Sequence[object]:  # a sequence or a mapping, matching the placeholder style
        return [parameters[name] for name in self.parameter_names] if self.parameter_names else parameters


class Execution(NamedTuple):
    """A prepared statement with its parameters, as they are sent."""

    statement: PreparedStatement
    values: Sequence[Buffer | None]


Item: TypeAlias = Execution | bytes  # bytes: a statement without parameters, which is planned anew each time


class ArrayDumper(ListDumper):
    """Encode a list like psycopg, in a tenth of the time: all elements are quoted, whatever characters they have.

    The type of the array is not looked up, since PostgreSQL infers it from the prepared statement.
    """

    def get_key(self, obj: list[Any], format: PyFormat) -> type:
        return self.cls

    def upgrade(self, obj: list[Any], format: PyFormat) -> "ArrayDumper":
        return self

    def dump(self, obj: list[Any]) -> Buffer:
        return b"{%b}" % b",".join(self.dump(one) if isinstance(one, list) else self._quote(one) for one in obj)

    def _quote(self, element: object) -> bytes:
        if element is None or (dumped := self._dump_item(element)) is None:
            return b"NULL"
        return b'"%b"' % bytes(dumped).replace(b"\\", rb"\\").replace(b'"', rb"\"")


class _Context(NamedTuple):
    """The attributes of a connection that psycopg's Transformer reads."""

    adapters: AdaptersMap
    connection: psycopg.Connection[Any]


class PreparingConnection(psycopg.Connection[Any]):
    """A connection that remembers the statements that it has prepared."""

    def __init__(self, *arguments: Any, **options: Any) -> None:  # those of psycopg
        super().__init__(*arguments, **options)
        self.prepared_names: set[bytes] = set()

    @cached_property
    def transformer(self) -> Adapters:
        """Psycopg's adapters of this connection, which are looked up once for each type."""
        adapters = AdaptersMap(self.adapters)
        adapters.register_dumper(list, ArrayDumper)
        return Transformer(_Context(adapters, self))

    def bind(self, statement: PreparedStatement, parameters: Parameters) -> Execution:
        """Encode the parameters of a statement. Raises psycopg.ProgrammingError for a wrong number of them."""
        ordered = statement.order_parameters(parameters)
        if len(ordered) != len(statement.formats):
            raise psycopg.ProgrammingError(f"{len(ordered)} parameters for {len(statement.formats)} placeholders")
        return Execution(statement, self.transformer.dump_sequence(ordered, statement.formats))

    def load_rows(self, result: PGresult) -> list[tuple[Any, ...]]:
        """Decode the rows of a result; an empty list if its statement returns none."""
        if not result.nfields:
            return []
        self.transformer.set_pgresult(result)
        return self.transformer.load_rows(0, result.ntuples, tuple)

    def send(self, items: Sequence[Item]) -> PGresult:
        """Send statements in one message, and return the result of the last one.

        Raises the psycopg.Error of the first that fails. After an error of the connection it is closed.
        """
        results: list[PGresult] = []
        preparations: dict[int, bytes] = {}  # name of the statement by the position of the result
        self.pgconn.enter_pipeline_mode()
        try:
            self._queue(items, preparations)
            self.pgconn.pipeline_sync()
            self.wait(_receive(self.pgconn, results))
            self.pgconn.exit_pipeline_mode()
        except BaseException:
            self.pgconn.finish()  # answers may be under way that would be taken for those of the next message
            _raise_first_error(results)
            raise
        for position, name in preparations.items():
            if results[position].status == ExecStatus.COMMAND_OK:
                self.prepared_names.add(name)
        _raise_first_error(results)
        return results[-1]

    def _queue(self, items: Sequence[Item], preparations: dict[int, bytes]) -> None:
        """Queue statements, each after its preparation if it is new to this connection."""
        pgconn = self.pgconn
        for position, item in enumerate(items):
            if isinstance(item, bytes):
                pgconn.send_query_params(item, None)
                continue
            name = item.statement.name
            if name not in self.prepared_names and name not in preparations.values():
                preparations[position + len(preparations)] = name
                pgconn.send_prepare(name, item.statement.numbered_sql)
            pgconn.send_query_prepared(name, item.values)


def _raise_first_error(results: Sequence[PGresult]) -> None:
    for result in results:
        if result.status == ExecStatus.FATAL_ERROR:
            raise error_from_result(result)


def _receive(pgconn: PGconn, results: list[PGresult]) -> PQGen[None]:
    """Send what is queued, and append the result of each statement to `results`."""
    while pgconn.flush():
        ready = yield WAIT_RW
        if ready and ready & READY_R:
            pgconn.consume_input()
    while True:
        while pgconn.is_busy():
            if (yield WAIT_R):
                pgconn.consume_input()
        result = pgconn.get_result()
        if result is None:
            if pgconn.status == ConnStatus.BAD:
                raise psycopg.OperationalError("the connection is lost")
        elif result.status == ExecStatus.PIPELINE_SYNC:
            return
        else:
            results.append(result)
