"""Search of staff by parts of words, in any case, in any order, served by trigram indexes."""

from typing import Any, TypeVar
from uuid import UUID

from django.db import connections
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations import RunPython, RunSQL
from django.db.models import BooleanField, Model, QuerySet
from django.db.models.expressions import RawSQL

MAX_WORDS = 8


class BuildTrigramIndex(RunSQL):
    """Build a trigram index of a text expression, without blocking writes. A build that failed before starts anew."""

    def __init__(self, name: str, table: str, expression: str) -> None:
        drop = f"DROP INDEX CONCURRENTLY IF EXISTS {name}"
        create = f"CREATE INDEX CONCURRENTLY {name} ON {table} USING gin (({expression}) gin_trgm_ops)"
        super().__init__([drop, create], drop)


class CopySearchText(RunPython):
    """Let a trigger copy the text that staff search into another table, with columns id and text, and copy that of all rows.

    The trigram index of a long text is expensive to write, and each change of a row writes new entries to all indexes of its
    table. The copy changes only when one of `columns` does. The expression is evaluated on a row of the table.
    """

    BATCH_ROWS = 1_000

    def __init__(self, table: str, copy: str, expression: str, columns: str) -> None:
        write = f"INSERT INTO {copy} (id, text) SELECT id, {expression} FROM {{rows}} ON CONFLICT (id) DO "
        self.create_trigger = f"""
            CREATE OR REPLACE FUNCTION write_{copy}() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN {write.format(rows="(SELECT NEW.*) AS changed")} UPDATE SET text = EXCLUDED.text; RETURN NULL; END $$;
            CREATE OR REPLACE TRIGGER write_{copy} AFTER INSERT OR UPDATE OF {columns} ON {table}
                FOR EACH ROW EXECUTE FUNCTION write_{copy}()"""
        page = f"SELECT * FROM {table} WHERE id > %s ORDER BY id LIMIT {self.BATCH_ROWS}"
        self.copy_page = f"""WITH page AS MATERIALIZED ({page}), copied AS ({write.format(rows="page")} NOTHING)
            SELECT max(id::text) FROM page"""
        self.drop_trigger = f"DROP FUNCTION write_{copy} CASCADE"
        super().__init__(self._apply, self._revert)

    def _apply(self, apps: Any, schema_editor: BaseDatabaseSchemaEditor) -> None:
        last_id: str | None = str(UUID(int=0))
        with schema_editor.connection.cursor() as cursor:
            cursor.execute(self.create_trigger)
            while last_id:
                cursor.execute(self.copy_page, [last_id])
                [(last_id,)] = cursor.fetchall()

    def _revert(self, apps: Any, schema_editor: BaseDatabaseSchemaEditor) -> None:
        schema_editor.execute(self.drop_trigger)


ModelT = TypeVar("ModelT", bound=Model)


def normalize_term(term: str) -> str:
    """Return a search term without the # that people write before a number, and without outer blanks."""
    return term.strip().removeprefix("#").strip()


def parse_id(term: str) -> UUID | None:
    """Return the id that a search term is, if it is one."""
    try:
        return UUID(term)
    except ValueError:
        return None


def split_words(term: str) -> list[str]:
    """Return the words of a search term, in lower case. Each may have a # before it."""
    return [word for word in (normalize_term(word) for word in term.lower().split()[:MAX_WORDS]) if word]


def build_like_pattern(alias: str, word: str) -> str:
    """Return the LIKE pattern of a text that contains the word."""
    return f"%{connections[alias].ops.prep_for_like_query(word)}%"


def filter_by_words(queryset: QuerySet[ModelT, Any], expression: str, term: str) -> QuerySet[ModelT, Any]:
    """Return the rows whose text contains every word of the term.

    expression: the text in lower case, in SQL, as the trigram index has it. No part of it is user input.
    """
    for word in split_words(term):
        condition = RawSQL(  # noqa: S611 the expression is ours, the pattern is a parameter
            f"({expression}) LIKE %s", [build_like_pattern(queryset.db, word)], output_field=BooleanField()
        )
        queryset = queryset.filter(condition)
    return queryset


def filter_by_found(queryset: QuerySet[ModelT, Any], find_sql: str, term: str) -> QuerySet[ModelT, Any]:
    """Return the rows in which every word of the term is found.

    find_sql: selects the ids of rows, with a LIKE pattern for each placeholder. No part of it is user input.
    """
    for word in split_words(term):
        patterns = [build_like_pattern(queryset.db, word)] * find_sql.count("%s")
        queryset = queryset.filter(pk__in=RawSQL(find_sql, patterns))  # noqa: S611 the SQL is ours, the patterns are parameters
    return queryset
