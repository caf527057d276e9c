"""The catalogue over HTTP: lists, filters, search, order, pages, caching."""

import json
from urllib.parse import quote
from uuid import uuid4

import pytest

from contexts.inventory.service import catalogue, editing
from shop.database import rows
from tests.browser import Client
from tests.inventory.stock import product, reserved, stocked
from tests.threads import elsewhere

API = "/api/v1"


def get(path, **headers):
    return Client().get(path if path.startswith("http") else f"{API}/{path}", headers=headers)


def found(path):
    """The results of a list, to its end, page by page."""
    results, following = [], path
    while following:
        body = get(following).json()
        results += body["results"]
        following = body["next"]
    return results


def slugs(path):
    return [item["slug"] for item in found(path)]


@pytest.fixture
def shelf():
    """A category of its own with three products: cheap and gone, mid-priced in two variants, dear."""
    slug = f"shelf-{uuid4().hex}"
    product([0], category=slug, slug=f"{slug}-cheap", name="Beech spoon", price=100)
    product([5, 0], category=slug, slug=f"{slug}-mid", name="Apron", price=1000)
    product([3], category=slug, slug=f"{slug}-dear", name="Copper kettle", price=9000)
    return slug


def named(shelf, *names):
    return [f"{shelf}-{name}" for name in names]


def test_a_product_has_the_agreed_shape():
    slug = f"mug-{uuid4().hex}"
    one, two = product([5, 0], slug=slug, name="Enamel mug", price=1999)
    reserved((one, 2))
    body = get(f"products/{slug}").json()
    category = body.pop("category")
    assert category.startswith("shelf-")
    assert body.pop("id")
    assert body == {
        "slug": slug,
        "name": "Enamel mug",
        "description": "",
        "variants": [
            {"sku": one, "name": "Size 0", "price": {"amount": 1999, "currency": "EUR"}, "available": 3},
            {"sku": two, "name": "Size 1", "price": {"amount": 2099, "currency": "EUR"}, "available": 0},
        ],
    }


def test_a_list_shows_a_product_exactly_as_its_own_page_does(shelf):
    [listed] = [item for item in found(f"products?category={shelf}") if item["slug"] == f"{shelf}-mid"]
    assert listed == get(f"products/{shelf}-mid").json()


def test_categories_are_listed_in_the_order_of_the_shop(shelf):
    listed = found("categories?page_size=100")
    assert shelf in [category["slug"] for category in listed]
    assert set(listed[0]) == {"id", "slug", "name", "description"}
    expected = rows("inventory", "SELECT slug FROM inventory_category ORDER BY position, slug")
    assert [category["slug"] for category in listed] == [slug for (slug,) in expected]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ("min_price=1000", {"mid", "dear"}),
        ("max_price=1000", {"cheap", "mid"}),
        ("min_price=1050&max_price=1100", {"mid"}),
        ("min_price=1010&max_price=1090", set()),
        ("in_stock=true", {"mid", "dear"}),
        ("in_stock=false", {"cheap"}),
        ("in_stock=true&min_price=1100&max_price=1100", set()),
        ("search=copper", {"dear"}),
        ("search=spoons", {"cheap"}),
        ("search=copper+or+apron", {"mid", "dear"}),
        ("search=kettle+-copper", set()),
        ("search=", {"cheap", "mid", "dear"}),
    ],
)
def test_filters_find_what_they_say(shelf, filters, expected):
    assert set(slugs(f"products?category={shelf}&{filters}")) == set(named(shelf, *expected))


@pytest.mark.parametrize(
    ("ordering", "expected"),
    [
        ("name", ("mid", "cheap", "dear")),
        ("-name", ("dear", "cheap", "mid")),
        ("price", ("cheap", "mid", "dear")),
        ("-price", ("dear", "mid", "cheap")),
        ("newest", ("dear", "mid", "cheap")),
    ],
)
@pytest.mark.parametrize("page_size", [1, 2, 20])
def test_orderings_hold_across_pages(shelf, ordering, expected, page_size):
    assert slugs(f"products?category={shelf}&ordering={ordering}&page_size={page_size}") == named(shelf, *expected)


def test_a_search_shows_the_name_that_matches_before_the_description():
    word, category = f"zest{uuid4().hex}", f"shelf-{uuid4().hex}"
    product([1], category=category, slug=f"{category}-name", name=f"{word} grater")
    product([1], category=category, slug=f"{category}-text", name="Grater")
    [(pk,)] = rows("inventory", "SELECT id FROM inventory_product WHERE slug = %s", [f"{category}-text"])
    editing.edit_product(pk, actor="staff@example.com", description=f"As good as the {word} one.")
    assert slugs(f"products?search={word}&page_size=1") == [f"{category}-name", f"{category}-text"]
    assert slugs(f"products?search={word}&ordering=name") == [f"{category}-text", f"{category}-name"]


def test_pages_run_to_the_end_without_gap_or_duplicate_where_everything_is_equal():
    category = f"shelf-{uuid4().hex}"
    made = [f"{category}-{n}" for n in range(23)]
    for slug in made:
        product([1], category=category, slug=slug, name="Same mug", price=500)
    for ordering in ("name", "-name", "price", "-price", "newest"):
        listed = slugs(f"products?category={category}&ordering={ordering}&page_size=4")
        assert len(listed) == 23, ordering
        assert set(listed) == set(made), ordering
    assert len(slugs(f"products?category={category}&search=mug&page_size=4")) == 23


def test_the_previous_page_leads_back(shelf):
    first = get(f"products?category={shelf}&ordering=price&page_size=2").json()
    second = get(first["next"]).json()
    assert second["next"] is None
    assert get(second["previous"]).json()["results"] == first["results"]


def test_an_unknown_category_is_an_empty_list():
    assert get("products?category=no-such-shelf").json() == {"results": [], "next": None, "previous": None}


def test_an_unknown_product_is_not_found():
    assert get("products/no-such-thing").status_code == 404


def test_what_is_off_sale_is_neither_listed_nor_shown():
    slug = f"mug-{uuid4().hex}"
    one, two = product([1, 1], slug=slug, category=f"shelf-{slug}")
    editing.edit_variant(one, actor="staff@example.com", is_active=False)
    assert [variant["sku"] for variant in get(f"products/{slug}").json()["variants"]] == [two]
    editing.edit_variant(two, actor="staff@example.com", is_active=False)
    assert get(f"products/{slug}").status_code == 404
    assert slugs(f"products?category=shelf-{slug}") == []


@pytest.mark.parametrize(
    "query",
    [
        "min_price=cheap", "min_price=-1", "max_price=10.5", "max_price=99999999999999999999", "in_stock=perhaps",
        "ordering=id", "ordering=variants__stock__on_hand", "ordering=-newest", "category=%00", "category=a%20b",
        "search=%00", f"search={'x' * 201}", "page_size=0", "page_size=ten", "cursor=%21%21%21", "cursor=%00",
        "ordering=price&cursor=cD1hYmM=", "ordering=newest&cursor=cD1hYmM=", "ordering=name&cursor=cD0lMDA=",
        "ordering=price&cursor=bz0tMQ==&page_size=-5",
    ],
)  # fmt: skip
def test_a_bad_query_is_refused_with_a_problem(query):
    answer = get(f"products?{query}")
    assert answer.status_code == 400, answer.content
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.json()["code"] == "shop.bad_query"


@pytest.mark.parametrize("search", ["'; DROP TABLE inventory_product; --", "a & | ! ( :*", '"', "%", "\\", "ü😀", "the"])
def test_any_words_can_be_searched_for(search):
    assert get(f"products?search={quote(search)}").status_code == 200


@pytest.mark.parametrize("path", ["categories", "products", "products/{slug}"])
def test_who_has_the_present_answer_already_is_told_so(path):
    slug = f"mug-{uuid4().hex}"
    product([1], slug=slug)
    path = path.format(slug=slug)
    first = get(path)
    assert first["ETag"].startswith('W/"')
    assert first["Cache-Control"] == "public, max-age=0, must-revalidate"
    again = get(path, If_None_Match=first["ETag"])
    assert (again.status_code, again.content, again["ETag"]) == (304, b"", first["ETag"])


def test_the_tag_changes_with_what_can_be_bought():
    slug = f"mug-{uuid4().hex}"
    [sku] = product([2], slug=slug)
    first = get(f"products/{slug}")
    reserved((sku, 1))
    second = get(f"products/{slug}", If_None_Match=first["ETag"])
    assert second.status_code == 200
    assert json.loads(second.content)["variants"][0]["available"] == 1


def test_a_page_holds_at_most_a_hundred():
    for _ in range(2):
        stocked(1)
    assert len(get("products?page_size=5000").json()["results"]) <= 100


CHANGES = {
    "stock": "UPDATE inventory_stock SET on_hand = 4, initial = 4 WHERE sku = %(sku)s",
    "variant": "UPDATE inventory_variant SET price = 5 WHERE sku = %(sku)s",
    "product": "UPDATE inventory_product SET name = 'Bowl' WHERE slug = %(slug)s",
    "category": """INSERT INTO inventory_category (id, slug, name, description, position)
                   VALUES (gen_random_uuid(), %(slug)s, '', '', 0)""",
}


def read_twice(path, change, **values):
    """The answer before and after something changed, without a word to this process."""
    before = get(path)
    elsewhere(lambda: rows("inventory", change, values))
    return before.content, get(path).content


@pytest.mark.parametrize("table", CHANGES)
def test_whatever_changes_is_seen_by_the_next_who_asks(table):
    slug = f"mug-{uuid4().hex}"
    [sku] = product([5], slug=slug, category=f"shelf-{slug}")
    path = "categories?page_size=100" if table == "category" else f"products?category=shelf-{slug}"
    if table == "category":
        rows("inventory", "UPDATE inventory_category SET position = position + 1")  # the new one comes first
    before, after = read_twice(path, CHANGES[table], sku=sku, slug=slug)
    assert before != after


def test_negative_control_without_the_trigger_an_answer_would_grow_stale():
    slug = f"mug-{uuid4().hex}"
    [sku] = product([5], slug=slug, category=f"shelf-{slug}")
    rows("inventory", "ALTER TABLE inventory_variant DISABLE TRIGGER raise_version")
    try:
        before, after = read_twice(f"products?category=shelf-{slug}", CHANGES["variant"], sku=sku)
    finally:
        rows("inventory", "ALTER TABLE inventory_variant ENABLE TRIGGER raise_version")
    assert before == after


def test_a_kept_page_shows_each_variant_its_own_units():
    slug = f"mug-{uuid4().hex}"
    path = f"products?category=shelf-{slug}"
    for n in range(3):
        product([5, 6], slug=f"{slug}-{n}", category=f"shelf-{slug}", name='"available":7 \\"sku":"x"')
    first = get(path).json()
    for n, variant in enumerate(v for found in first["results"] for v in found["variants"]):
        variant["available"] = n * 10
        counted = "UPDATE inventory_stock SET on_hand = %s, initial = %s WHERE sku = %s"
        rows("inventory", counted, [n * 10, n * 10, variant["sku"]])
    assert get(path).json() == first


@pytest.mark.parametrize("wanted", [True, False])
def test_what_is_found_by_stock_is_looked_for_each_time(wanted):
    slug = f"mug-{uuid4().hex}"
    [sku] = product([5 if wanted else 0], slug=slug, category=f"shelf-{slug}")
    path = f"products?category=shelf-{slug}&in_stock={str(wanted).lower()}"
    assert len(get(path).json()["results"]) == 1
    units = 0 if wanted else 4
    rows("inventory", "UPDATE inventory_stock SET on_hand = %s, initial = %s WHERE sku = %s", [units, units, sku])
    assert get(path).json()["results"] == []


def test_what_is_kept_of_answers_has_a_limit(monkeypatch, in_one_process):
    monkeypatch.setattr(catalogue, "ROOM", 10_000)
    rows("inventory", "UPDATE inventory_category SET position = position")  # a new version, so a new shelf
    kept = [get(f"categories?n={n}") and len(catalogue._shelf.pages) for n in range(40)]
    assert 1 <= max(kept) < 40
    assert kept.count(0) > 1, "it begins anew when it is full"
