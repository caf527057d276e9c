"""The catalogue API: lists, filters, search, ordering, pages, caching."""

import json
from urllib.parse import parse_qs, quote, urlsplit
from uuid import uuid4

import pytest

from contexts.inventory.service import catalogue_cache, catalogue_editing
from shop.db.database import execute, fetch_rows
from tests.concurrency import run_in_thread
from tests.factories import create_product, reserve_units
from tests.http_client import Client

API = "/api/v1"


def get(path, **headers):
    return Client().get(path if path.startswith("http") else f"{API}/{path}", headers=headers)


def list_all(path):
    """Return the results of all pages of a list."""
    results, next_page = [], path
    while next_page:
        body = get(next_page).json()
        results += body["results"]
        next_page = body["next"]
    return results


def slugs(path):
    return [item["slug"] for item in list_all(path)]


@pytest.fixture
def seeded_category():
    """A new category with three products: a cheap one that is sold out, one with two variants, an expensive one."""
    slug = f"category-{uuid4().hex}"
    create_product([0], category=slug, slug=f"{slug}-cheap", name="Beech spoon", price=100)
    create_product([5, 0], category=slug, slug=f"{slug}-mid", name="Apron", price=1000)
    create_product([3], category=slug, slug=f"{slug}-dear", name="Copper kettle", price=9000)
    return slug


def slugs_of(seeded_category, *names):
    return [f"{seeded_category}-{name}" for name in names]


def test_a_product_has_the_documented_fields():
    slug = f"mug-{uuid4().hex}"
    one, two = create_product([5, 0], slug=slug, name="Enamel mug", price=1999)
    reserve_units((one, 2))
    body = get(f"products/{slug}").json()
    category = body.pop("category")
    assert category.startswith("category-")
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


def test_list_and_detail_show_the_same_product(seeded_category):
    slug = f"{seeded_category}-mid"
    [listed] = [item for item in list_all(f"products?category={seeded_category}") if item["slug"] == slug]
    assert listed == get(f"products/{slug}").json()


def test_categories_are_listed_in_display_order(seeded_category):
    listed = list_all("categories?page_size=100")
    assert seeded_category in [category["slug"] for category in listed]
    assert set(listed[0]) == {"id", "slug", "name", "description"}
    expected = fetch_rows("inventory", "SELECT slug FROM inventory_category ORDER BY position, slug")
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
def test_filters_return_matching_products(seeded_category, filters, expected):
    assert set(slugs(f"products?category={seeded_category}&{filters}")) == set(slugs_of(seeded_category, *expected))


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
def test_orderings_hold_across_pages(seeded_category, ordering, expected, page_size):
    assert slugs(f"products?category={seeded_category}&ordering={ordering}&page_size={page_size}") == slugs_of(
        seeded_category, *expected
    )


def test_a_match_in_the_name_ranks_before_a_match_in_the_description():
    word, category = f"zest{uuid4().hex}", f"category-{uuid4().hex}"
    create_product([1], category=category, slug=f"{category}-name", name=f"{word} grater")
    create_product([1], category=category, slug=f"{category}-text", name="Grater")
    [(pk,)] = fetch_rows("inventory", "SELECT id FROM inventory_product WHERE slug = %s", [f"{category}-text"])
    catalogue_editing.update_product(pk, actor="staff@example.com", description=f"As good as the {word} one.")
    assert slugs(f"products?search={word}&page_size=1") == [f"{category}-name", f"{category}-text"]
    assert slugs(f"products?search={word}&ordering=name") == [f"{category}-text", f"{category}-name"]


def test_pages_of_equal_products_have_no_gaps_or_duplicates():
    category = f"category-{uuid4().hex}"
    created = [f"{category}-{n}" for n in range(23)]
    for slug in created:
        create_product([1], category=category, slug=slug, name="Same mug", price=500)
    for ordering in ("name", "-name", "price", "-price", "newest"):
        listed = slugs(f"products?category={category}&ordering={ordering}&page_size=4")
        assert len(listed) == 23, ordering
        assert set(listed) == set(created), ordering
    assert len(slugs(f"products?category={category}&search=mug&page_size=4")) == 23


@pytest.fixture
def equal_products():
    """A new category with 1,101 products that differ in nothing but their slugs."""
    category = f"category-{uuid4().hex}"
    create_product([1], category=category, slug=f"{category}-0", name="Same mug", price=500)
    execute(
        "inventory",
        """WITH product AS (
             INSERT INTO inventory_product (id, slug, name, description, category, min_price, max_price)
             SELECT gen_random_uuid(), %(category)s || '-' || n, 'Same mug', '', %(category)s, 500, 500
             FROM generate_series(1, 1100) n RETURNING id, slug),
           variant AS (
             INSERT INTO inventory_variant (sku, product_id, name, price, currency, position)
             SELECT right(slug, 60), id, '', 500, 'EUR', 0 FROM product RETURNING sku)
           INSERT INTO inventory_stock (sku, on_hand, initial) SELECT sku, 1, 1 FROM variant""",
        {"category": category},
    )
    return category


@pytest.mark.parametrize("query", ["ordering=name", "ordering=-price", "search=mug", "in_stock=true"])
def test_more_than_a_thousand_equal_products_are_each_on_one_page(equal_products, query):
    listed = slugs(f"products?category={equal_products}&page_size=100&{query}")
    assert len(listed) == 1_101 == len(set(listed))


def test_more_than_a_thousand_categories_of_one_position_are_each_on_one_page():
    key = uuid4().hex
    sql = """INSERT INTO inventory_category (id, slug, name, description, position)
             SELECT gen_random_uuid(), %s || n, 'Same', '', 77 FROM generate_series(1, 1101) n"""
    execute("inventory", sql, [f"equal-{key}-"])
    listed = [slug for slug in slugs("categories?page_size=100") if key in slug]
    execute("inventory", "DELETE FROM inventory_category WHERE slug LIKE %s", [f"equal-{key}-%"])
    assert len(listed) == 1_101 == len(set(listed))


def test_a_page_is_found_by_the_url_of_its_neighbour_too(seeded_category):
    first = get(f"products?category={seeded_category}&ordering=price&page_size=2").json()
    again = get(f"products?cursor={quote(first['next'], safe='')}").json()
    assert [item["slug"] for item in again["results"]] == slugs_of(seeded_category, "dear")
    other = get(f"products?ordering=-price&cursor={quote(first['next'], safe='')}")
    assert (other.status_code, other.json()["code"]) == (400, "shop.bad_query")


def test_the_previous_link_leads_to_the_previous_page(seeded_category):
    first = get(f"products?category={seeded_category}&ordering=price&page_size=2").json()
    second = get(first["next"]).json()
    assert second["next"] is None
    assert get(second["previous"]).json()["results"] == first["results"]


def test_an_unknown_category_is_an_empty_list():
    assert get("products?category=no-such-category").json() == {"results": [], "next": None, "previous": None}


def test_an_unknown_product_is_not_found():
    assert get("products/no-such-thing").status_code == 404


def test_a_product_off_sale_is_not_found_or_listed():
    slug = f"mug-{uuid4().hex}"
    one, two = create_product([1, 1], slug=slug, category=f"category-{slug}")
    catalogue_editing.update_variant(one, actor="staff@example.com", is_active=False)
    assert [variant["sku"] for variant in get(f"products/{slug}").json()["variants"]] == [two]
    catalogue_editing.update_variant(two, actor="staff@example.com", is_active=False)
    assert get(f"products/{slug}").status_code == 404
    assert slugs(f"products?category=category-{slug}") == []


@pytest.mark.parametrize(
    "query",
    [
        "min_price=cheap", "min_price=-1", "max_price=10.5", "max_price=99999999999999999999", "in_stock=perhaps",
        "ordering=id", "ordering=variants__stock__on_hand", "ordering=-newest", "category=%00", "category=a%20b",
        "search=%00", f"search={'x' * 201}", "page_size=0", "page_size=101", "page_size=ten", "cursor=%21%21%21", "cursor=%00",
        "ordering=price&cursor=cD1hYmM=", "ordering=newest&cursor=cD1hYmM=", "ordering=name&cursor=cD0lMDA=",
        "ordering=price&cursor=bz0tMQ==&page_size=-5",
    ],
)  # fmt: skip
def test_a_bad_query_is_refused_with_a_problem(query):
    response = get(f"products?{query}")
    assert response.status_code == 400, response.content
    assert response["Content-Type"] == "application/problem+json"
    assert response.json()["code"] == "shop.bad_query"


@pytest.mark.parametrize(
    "search", ["'; DROP TABLE inventory_product; --", "a & | ! ( :*", '"', "%", "\\", "ü😀", "the"]
)
def test_any_search_text_is_accepted(search):
    assert get(f"products?search={quote(search)}").status_code == 200


@pytest.mark.parametrize("path", ["categories", "products", "products/{slug}"])
def test_a_current_etag_gets_304(path):
    slug = f"mug-{uuid4().hex}"
    create_product([1], slug=slug)
    path = path.format(slug=slug)
    first = get(path)
    assert first["ETag"].startswith('W/"')
    assert first["Cache-Control"] == "public, max-age=0, must-revalidate"
    again = get(path, If_None_Match=first["ETag"])
    assert (again.status_code, again.content, again["ETag"]) == (304, b"", first["ETag"])


def test_the_etag_changes_with_availability():
    slug = f"mug-{uuid4().hex}"
    [sku] = create_product([2], slug=slug)
    first = get(f"products/{slug}")
    reserve_units((sku, 1))
    second = get(f"products/{slug}", If_None_Match=first["ETag"])
    assert second.status_code == 200
    assert json.loads(second.content)["variants"][0]["available"] == 1


def test_a_page_has_at_most_100_products():
    assert get("products?page_size=100").status_code == 200
    response = get("products?page_size=101")
    assert (response.status_code, response.json()["code"]) == (400, "shop.bad_query")
    assert response.json()["errors"] == [
        {"parameter": "page_size", "code": "out_of_range", "detail": "Must be between 1 and 100."}
    ]


CHANGES = {
    "stock": "UPDATE inventory_stock SET on_hand = 4, initial = 4 WHERE sku = %(sku)s",
    "variant": "UPDATE inventory_variant SET price = 5 WHERE sku = %(sku)s",
    "product": "UPDATE inventory_product SET name = 'Bowl' WHERE slug = %(slug)s",
    "category": """INSERT INTO inventory_category (id, slug, name, description, position)
                   VALUES (gen_random_uuid(), %(slug)s, '', '', 0)""",
}


def read_twice(path, change, **values):
    """Return the response before and after a change that is made past the application."""
    before = get(path)
    run_in_thread(lambda: fetch_rows("inventory", change, values))
    return before.content, get(path).content


@pytest.mark.parametrize("table", CHANGES)
def test_every_change_is_visible_to_the_next_request(table):
    slug = f"mug-{uuid4().hex}"
    [sku] = create_product([5], slug=slug, category=f"category-{slug}")
    path = "categories?page_size=100" if table == "category" else f"products?category=category-{slug}"
    if table == "category":
        fetch_rows("inventory", "UPDATE inventory_category SET position = position + 1")  # the new category comes first
    before, after = read_twice(path, CHANGES[table], sku=sku, slug=slug)
    assert before != after


def test_negative_control_without_the_trigger_a_response_becomes_stale():
    slug = f"mug-{uuid4().hex}"
    [sku] = create_product([5], slug=slug, category=f"category-{slug}")
    fetch_rows("inventory", "ALTER TABLE inventory_variant DISABLE TRIGGER raise_version")
    try:
        before, after = read_twice(f"products?category=category-{slug}", CHANGES["variant"], sku=sku)
    finally:
        fetch_rows("inventory", "ALTER TABLE inventory_variant ENABLE TRIGGER raise_version")
    assert before == after


def set_stock(sku, units):
    fetch_rows("inventory", "UPDATE inventory_stock SET on_hand = %s, initial = %s WHERE sku = %s", [units, units, sku])


def test_a_cached_page_shows_current_units_of_each_variant():
    slug = f"mug-{uuid4().hex}"
    path = f"products?category=category-{slug}"
    for n in range(3):
        create_product([5, 6], slug=f"{slug}-{n}", category=f"category-{slug}", name='"available":7 \\"sku":"x"')
    first = get(path).json()
    for n, variant in enumerate(variant for product in first["results"] for variant in product["variants"]):
        variant["available"] = n * 10
        set_stock(variant["sku"], n * 10)
    assert get(path).json() == first


@pytest.mark.parametrize("in_stock", [True, False])
def test_filters_by_stock_are_not_cached(in_stock):
    slug = f"mug-{uuid4().hex}"
    [sku] = create_product([5 if in_stock else 0], slug=slug, category=f"category-{slug}")
    path = f"products?category=category-{slug}&in_stock={str(in_stock).lower()}"
    assert len(get(path).json()["results"]) == 1
    set_stock(sku, 0 if in_stock else 4)
    assert get(path).json()["results"] == []


def test_spellings_of_one_query_are_cached_once(in_one_process):
    fetch_rows("inventory", "UPDATE inventory_category SET position = position")  # a new version, so a new cache
    ignored = [f"categories?{name}=1" for name in ("_", "utm_source", "utm_anything", "gclid", "fbclid")]
    same = ["categories", "categories?page_size=20", "categories?cursor=", *ignored]
    assert {get(path)["ETag"] for path in same} == {get("categories")["ETag"]}
    assert len(catalogue_cache._cache.pages) == 1
    get("categories?page_size=21")
    assert len(catalogue_cache._cache.pages) == 2


def test_links_to_other_pages_have_no_ignored_parameters(seeded_category):
    page = get(f"products?category={seeded_category}&page_size=1&_=7&utm_source=mail&gclid=x").json()
    assert parse_qs(urlsplit(page["next"]).query).keys() == {"category", "page_size", "cursor"}


def test_the_response_cache_has_a_limit(monkeypatch, in_one_process):
    monkeypatch.setattr(catalogue_cache, "MAX_CACHE_BYTES", 10_000)
    fetch_rows("inventory", "UPDATE inventory_category SET position = position")  # a new version, so a new cache
    cached = [get(f"categories?page_size={n + 1}") and len(catalogue_cache._cache.pages) for n in range(40)]
    assert 1 <= max(cached) < 40
    assert cached.count(0) > 1, "the cache is emptied when it is full"
