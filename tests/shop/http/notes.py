"""A table of notes and its lists, one for each kind of ordering."""

from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
from django.db import models
from rest_framework.request import Request

from shop.db.database import execute, fetch_rows
from shop.http.pagination import Page, PageQuery, paginate
from shop.http.rest import ANYONE, View, endpoint

ALIAS = "orders"

ORDERINGS = {
    "oldest": ("rank", "written_at", "id"),
    "newest": ("-rank", "-written_at", "-id"),
    "mixed": ("-rank", "written_at", "-id"),
    "mixed-text": ("text", "-id"),
    "nulls-last": ("due_at", "id"),
    "nulls-first": ("-due_at", "-id"),
    "mixed-nulls": ("-due_at", "rank", "id"),
    "doubled": ("double_rank", "id"),
}


class Note(models.Model):
    """A note."""

    id = models.UUIDField(primary_key=True)
    rank = models.BigIntegerField()
    text = models.CharField(max_length=200)
    written_at = models.DateTimeField()
    due_at = models.DateTimeField(null=True)

    class Meta:
        app_label = "test_notes"  # no installed application, so that Django does not list this model
        managed = False
        db_table = "test_page_notes"

    def __str__(self) -> str:
        return str(self.id)


class NoteView(msgspec.Struct):
    """A note as a response shows it."""

    id: str


class Notes(View):
    @endpoint(access=ANYONE, query=PageQuery, responses={200: Page[NoteView]})
    def get(self, request: Request, query: PageQuery, ordering: str) -> Page[NoteView]:
        """List the notes in one of the orderings."""
        notes = Note.objects.using(ALIAS).annotate(double_rank=models.F("rank") * 2)
        rows = notes.values("id", "rank", "text", "written_at", "due_at", "double_rank")
        if ordering == "instances":
            return paginate(request, query, notes, ordering=("rank", "id"), to_view=_to_views_of_instances)
        return paginate(request, query, rows, ordering=ORDERINGS[ordering], to_view=_to_views)


def _to_views(rows: list[dict[str, object]]) -> list[NoteView]:
    return [NoteView(id=str(row["id"])) for row in rows]


def _to_views_of_instances(rows: list[Note]) -> list[NoteView]:
    return [NoteView(id=str(row.id)) for row in rows]


@contextmanager
def notes_table() -> Iterator[None]:
    """Create the table with an index on each ordering in one direction, and drop it at the end."""
    fetch_rows(
        ALIAS,
        """CREATE TABLE test_page_notes (id uuid PRIMARY KEY, rank bigint NOT NULL, text text NOT NULL,
                                         written_at timestamptz NOT NULL, due_at timestamptz)""",
    )
    fetch_rows(ALIAS, "CREATE INDEX test_notes_oldest ON test_page_notes (rank, written_at, id)")
    fetch_rows(ALIAS, "CREATE INDEX test_notes_mixed ON test_page_notes (rank DESC, written_at, id DESC)")
    try:
        yield
    finally:
        fetch_rows(ALIAS, "DROP TABLE test_page_notes")


def add_equal_notes(count: int) -> None:
    """Insert notes that differ in their id only."""
    execute(
        ALIAS,
        """INSERT INTO test_page_notes SELECT gen_random_uuid(), 7, 'same', '2026-01-01 00:00:00.123456Z'
           FROM generate_series(1, %s)""",
        [count],
    )


def list_ids(ordering: str) -> list[str]:
    """Return the ids of all notes in the order of PostgreSQL."""
    columns = {"double_rank": "rank"}
    terms = []
    for item in ORDERINGS[ordering]:
        name = item.removeprefix("-")
        terms.append(f"{columns.get(name, name)} {'DESC' if item != name else 'ASC'}")
    return [key for (key,) in fetch_rows(ALIAS, f"SELECT id::text FROM test_page_notes ORDER BY {', '.join(terms)}")]
