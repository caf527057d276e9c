"""Search of staff by parts of words, in any case, in any order, served by trigram indexes."""

from typing import Any, TypeVar
from uuid import UUID

from django.db import connections
from django.db.migrations.operations import RunSQL
from django.db.models import BooleanField, Model, QuerySet
from django.db.models.expressions import RawSQL

MAX_WORDS = 8


class BuildTrigramIndex(RunSQL):
    """Build a trigram index of a text expression, without blocking writes. A build that failed before starts anew."""

    def __init__(self, name: str, table: str, expression: str) -> None:
        drop = f"DROP INDEX CONCURRENTLY IF EXISTS {name}"
        create = f"CREATE INDEX CONCURRENTLY {name} ON {table} USING gin (({expression}) gin_trgm_ops)"
        super().__init__([drop, create], drop)


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
