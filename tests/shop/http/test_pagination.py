"""Pages of a list: every row is on one page, whichever rows are equal, inserted or deleted meanwhile."""

import base64
import json
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import pytest
from django.db import connections
from django.test import Client
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st

from shop.db.database import execute, fetch_rows
from shop.http.pagination import PageQuery, paginate
from tests.secret_rotation import rotate_secret
from tests.shop.http.notes import ALIAS, ORDERINGS, Note, add_equal_notes, list_ids, notes_table

pytestmark = [pytest.mark.urls("tests.shop.http.urls"), pytest.mark.usefixtures("notes")]


@pytest.fixture(scope="module")
def table():
    with notes_table():
        yield


@pytest.fixture
def notes(table):
    """The empty table of notes."""
    fetch_rows(ALIAS, "TRUNCATE test_page_notes")


def get(path):
    response = Client().get(path)
    assert response.status_code == 200, response.content
    return response.json()


def ids(page):
    return [note["id"] for note in page["results"]]


def walk(path, direction="next"):
    """Return the ids of the page at a path and of all pages that follow it in one direction."""
    found = []
    while path:
        page = get(path)
        assert len(ids(page)) <= 100
        found.append(ids(page))
        path = page[direction]
        assert len(found) < 500, "the pages do not end"
    return found


def flatten(pages):
    return [note for page in pages for note in page]


@pytest.mark.parametrize("ordering", [*ORDERINGS, "instances"])
def test_more_than_a_thousand_equal_rows_are_each_on_one_page(ordering):
    add_equal_notes(1_101)
    found = flatten(walk(f"/notes/{ordering}?page_size=100"))
    assert len(found) == 1_101 == len(set(found))


def test_previous_leads_back_over_the_same_pages():
    add_equal_notes(1_101)
    pages = walk("/notes/mixed?page_size=100")
    last = get("/notes/mixed?page_size=100")
    while last["next"]:
        last = get(last["next"])
    assert walk(last["previous"], "previous") == pages[-2::-1]


def test_a_page_is_a_list_with_urls_of_its_neighbours():
    add_equal_notes(3)
    first = get("/notes/oldest?page_size=2")
    assert first["previous"] is None and first["next"].startswith("http://testserver/notes/oldest?page_size=2&cursor=")
    second = get(first["next"])
    assert second["next"] is None and ids(get(second["previous"])) == ids(first)
    assert get(second["previous"])["previous"] is None
    assert get("/notes/oldest") == {"results": get("/notes/oldest")["results"], "next": None, "previous": None}


def test_an_empty_list_has_no_neighbours():
    assert get("/notes/oldest") == {"results": [], "next": None, "previous": None}


def test_rows_that_are_deleted_and_inserted_change_no_other_row_of_the_next_page():
    add_equal_notes(30)
    expected = list_ids("oldest")
    first = get("/notes/oldest?page_size=10")
    execute(ALIAS, "DELETE FROM test_page_notes WHERE id = ANY(%s::uuid[])", [expected[:10] + expected[12:14]])
    execute(ALIAS, "INSERT INTO test_page_notes VALUES ('00000000-0000-0000-0000-000000000000', 0, '', now())")
    assert flatten(walk(first["next"])) == expected[10:12] + expected[14:]


def test_a_page_whose_rows_were_deleted_leads_to_the_edge_of_the_list():
    add_equal_notes(6)
    expected = list_ids("oldest")
    first = get("/notes/oldest?page_size=3")
    second = get(first["next"])
    execute(ALIAS, "DELETE FROM test_page_notes WHERE id = ANY(%s::uuid[])", [expected[3:]])
    empty = get(first["next"])
    assert (ids(empty), empty["next"]) == ([], None) and ids(get(empty["previous"])) == expected[:3]
    execute(ALIAS, "TRUNCATE test_page_notes")
    empty = get(second["previous"])
    assert (ids(empty), empty["previous"]) == ([], None)
    add_equal_notes(1)
    assert ids(get(empty["next"])) == list_ids("oldest")


@pytest.mark.parametrize("ordering", ["nulls-last", "nulls-first", "mixed-nulls"])
def test_rows_with_and_without_a_value_are_on_a_page(ordering):
    add_equal_notes(6)
    some = "SELECT id FROM test_page_notes ORDER BY id LIMIT 3"
    execute(ALIAS, f"UPDATE test_page_notes SET due_at = now() WHERE id IN ({some})")
    pages = walk(f"/notes/{ordering}?page_size=1")
    assert flatten(pages) == list_ids(ordering)
    last = get(f"/notes/{ordering}?page_size=5")["next"]
    assert flatten(walk(get(last)["previous"], "previous")) == list_ids(ordering)[:5]


rows = st.tuples(st.integers(0, 2), st.sampled_from("aAä'"), st.integers(0, 1), st.sampled_from([None, 0, 1]))
changes = st.lists(st.one_of(st.integers(0, 50), rows), max_size=4)


def insert(row):
    rank, text, written, due = row
    execute(
        ALIAS,
        """INSERT INTO test_page_notes SELECT gen_random_uuid(), %s, %s, timestamptz '2026-01-01' + %s * interval '1 us',
                  timestamptz '2026-01-01' + %s::int * interval '1 us'""",
        [rank, text, written, due],
    )


def change(ordering, changes):
    """Insert these rows, and delete the rows with these numbers."""
    for one in changes:
        present = list_ids(ordering)
        if isinstance(one, tuple):
            insert(one)
        elif one < len(present):
            execute(ALIAS, "DELETE FROM test_page_notes WHERE id = %s", [present[one]])


@effort(max_examples=80, deadline=None)
@given(
    ordering=st.sampled_from(sorted(ORDERINGS)),
    initial=st.lists(rows, max_size=12),
    changes_by_page=st.lists(changes, max_size=6),
    page_size=st.integers(1, 4),
    is_backward=st.booleans(),
)
def test_a_row_that_stays_is_found_once_whatever_changes_between_two_pages(
    ordering, initial, changes_by_page, page_size, is_backward
):
    fetch_rows(ALIAS, "TRUNCATE test_page_notes")
    for row in initial:
        insert(row)
    page = get(f"/notes/{ordering}?page_size={page_size}")
    if is_backward:  # begin at the last page that has another one before it
        while page["next"]:
            page = get(page["next"])
    direction = "previous" if is_backward else "next"
    skipped = set() if not is_backward else set(list_ids(ordering)) - set(before(ordering, page))
    stayed, found = set(list_ids(ordering)) - skipped, []
    for changes in [*changes_by_page, *[[]] * 40]:
        found = ids(page) + found if is_backward else found + ids(page)
        if page[direction] is None:
            break
        change(ordering, changes)
        stayed &= set(list_ids(ordering))
        page = get(page[direction])
    assert page[direction] is None
    assert len(found) == len(set(found))
    assert stayed <= set(found)
    now = [note for note in list_ids(ordering) if note in set(found)]
    assert [note for note in found if note in set(now)] == now


def before(ordering, page):
    """Return the rows up to the last one of a page."""
    everything = list_ids(ordering)
    return everything[: everything.index(ids(page)[-1]) + 1] if ids(page) else []


@pytest.mark.parametrize("page_size", ["0", "-1", "101", "10000", "ten", "1.5"])
def test_a_page_size_above_100_or_below_1_is_refused(page_size):
    response = Client().get(f"/notes/oldest?page_size={page_size}")
    assert (response.status_code, response.json()["code"]) == (400, "shop.bad_query")


def cursor_of(url):
    [cursor] = parse_qs(urlsplit(url).query)["cursor"]
    return cursor


def test_a_cursor_is_accepted_bare_and_as_the_url_of_a_page():
    add_equal_notes(9)
    url = get("/notes/oldest?page_size=3")["next"]
    expected = list_ids("oldest")[3:6]
    assert ids(get(f"/notes/oldest?page_size=3&cursor={cursor_of(url)}")) == expected
    assert ids(get(f"/notes/oldest?page_size=3&cursor={quote(url, safe='')}")) == expected
    path = urlsplit(url)._replace(scheme="", netloc="").geturl()
    assert ids(get(f"/notes/oldest?page_size=3&cursor={quote(path, safe='')}")) == expected


def test_the_parameters_of_a_url_that_is_used_as_cursor_apply():
    add_equal_notes(9)
    url = get("/notes/oldest?page_size=3")["next"]
    page = get(f"/notes/oldest?cursor={quote(url, safe='')}")
    assert ids(page) == list_ids("oldest")[3:6]
    assert ids(get(page["next"])) == list_ids("oldest")[6:]
    assert ids(get(f"/notes/oldest?{urlencode({'page_size': 1, 'cursor': url})}")) == list_ids("oldest")[3:4]


def tampered(cursor):
    """Return cursors that differ from a valid one in one place."""
    data = bytearray(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    for index in range(len(data)):
        copy = bytearray(data)
        copy[index] ^= 1
        yield base64.urlsafe_b64encode(copy).rstrip(b"=").decode()
    yield from (cursor[:-1], cursor + "A", cursor + "=", cursor.swapcase(), f"{cursor} ", cursor[:10], "\u00fc")
    yield f"http://testserver/notes/oldest?cursor={cursor[:-2]}"
    yield "http://testserver/notes/oldest?page_size=3"


def test_a_cursor_that_was_changed_is_refused():
    add_equal_notes(5)
    cursor = cursor_of(get("/notes/oldest?page_size=2")["next"])
    accepted = []
    for changed in tampered(cursor):
        response = Client().get("/notes/oldest", {"cursor": changed})
        if response.status_code != 400 or response.json()["code"] != "shop.bad_query":
            accepted.append(changed)
    assert accepted == []


@pytest.mark.parametrize("content", [b"p=2026-01-01+00%3A00%3A00", b"r=1&p=7", b"o=3&p=7", b"p=garbage", b"p=%00", b""])
def test_a_cursor_of_an_earlier_release_is_refused_with_a_clear_error(content):
    response = Client().get("/notes/oldest", {"cursor": base64.b64encode(content or b"?").decode()})
    assert (response.status_code, response.json()["code"]) == (400, "shop.bad_query")
    assert "omit it to get the first page" in response.json()["detail"]


def test_a_cursor_of_another_list_is_refused():
    add_equal_notes(5)
    cursor = cursor_of(get("/notes/oldest?page_size=2")["next"])
    assert Client().get("/notes/newest", {"cursor": cursor}).status_code == 400


def test_a_cursor_leads_to_the_next_page_after_a_change_of_secret_key(settings):
    add_equal_notes(9)
    url = get("/notes/oldest?page_size=3")["next"]
    rotate_secret(settings)
    assert ids(get(url)) == list_ids("oldest")[3:6]


def test_an_ordering_without_a_unique_column_is_an_error_of_the_developer():
    with pytest.raises(ValueError, match="unique"):
        paginate(None, PageQuery(), Note.objects.using(ALIAS), ordering=("rank",), to_view=list)


def read_plan(url):
    """Return the nodes of the plan with which PostgreSQL executes the statement of a page."""
    with CaptureQueriesContext(connections[ALIAS]) as captured:
        get(url)
    [statement] = [query["sql"] for query in captured if "test_page_notes" in query["sql"]]
    [(plan,)] = fetch_rows(ALIAS, f"EXPLAIN (ANALYZE, FORMAT JSON) {statement.replace('%', '%%')}")
    node = (json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"]
    nodes = [node]
    while node := node.get("Plans", [None])[0]:
        nodes.append(node)
    return nodes


@pytest.mark.parametrize("ordering", ["oldest", "newest"])
def test_a_page_within_100_000_equal_rows_is_read_from_the_index(ordering):
    add_equal_notes(100_000)
    fetch_rows(ALIAS, "ANALYZE test_page_notes")
    page = get(f"/notes/{ordering}?page_size=100")
    for _ in range(5):
        nodes = read_plan(page["next"])
        assert nodes[-1].get("Index Name") == "test_notes_oldest", nodes
        assert nodes[-1]["Actual Rows"] == 101 and not nodes[-1].get("Rows Removed by Filter"), nodes
        assert "Sort" not in [node["Node Type"] for node in nodes]
        page = get(page["next"])


def test_a_page_of_a_mixed_ordering_sorts_nothing_either():
    add_equal_notes(1_000)
    execute(ALIAS, "UPDATE test_page_notes SET rank = ('x' || left(id::text, 4))::bit(16)::int")
    fetch_rows(ALIAS, "ANALYZE test_page_notes")
    page = get(get("/notes/mixed?page_size=20")["next"])
    nodes = read_plan(page["next"])
    assert nodes[-1].get("Index Name") == "test_notes_mixed" and nodes[-1].get("Index Cond"), nodes
