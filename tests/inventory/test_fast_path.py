"""Repeated requests for the catalogue are answered before Django, with the bytes with which Django answers them."""

import io
import json
import logging
from contextlib import contextmanager
from ipaddress import ip_network
from urllib.parse import quote
from uuid import uuid4

import pytest
from django.db import connections

from shop.db.database import execute, fetch_rows
from shop.db.postgres.circuits import get_circuit
from shop.http.repeated_requests import answer_together
from shop.request_buffer import BODY_PROBLEM, TIMED_OUT, UNREADABLE
from tests.factories import create_product, reserve_units
from tests.inventory.site import Site, build_environ

pytestmark = pytest.mark.usefixtures("in_one_process")

API = "/api/v1"
SHOP, OTHER = "https://front.example", "https://other.example"
METHODS = ("GET", "HEAD")
OTHER_METHODS = ("OPTIONS", "POST", "PUT", "PATCH", "DELETE", "get", "PURGE")


@pytest.fixture
def site(settings):
    settings.CORS_ALLOWED_ORIGINS = [SHOP]
    settings.RATE_LIMITS = False  # their headers change with each request
    return Site()


@pytest.fixture(scope="module")
def slug():
    """The slug of a product, which is also the end of that of its category, and has three products."""
    slug = f"mug-{uuid4().hex}"
    for name in (f"{slug}-1", f"{slug}-2", slug):
        create_product([5, 6], slug=name, category=f"category-{slug}", name="Émail “mug”")
    return slug


REPEATED = [
    "products/{slug}", "products/{slug}?", "categories", "categories?page_size=2", "categories?utm_source=mail",
    "products", "products?category=category-{slug}", "products?page_size=1",
    "products?ordering=price&page_size=2", "products?ordering=-name", "products?ordering=newest&min_price=1&max_price=100000",
    "products?category=no-such-category", "products?search=&in_stock=&category=category-{slug}", "products?cursor={cursor}",
    "products?cursor={next}", "products?_=1&gclid=2&utm_x=3",
]  # fmt: skip
NOT_REPEATED = [
    "products?search=mug", "products?search=m%C3%BCg", "products?in_stock=true&category=category-{slug}",
    "products?in_stock=false", "products?unknown=1", "products?page_size=0", "products?page_size=1&page_size=2",
    "products?cursor=%21", "products?category=%00", "products/no-such-product", "products/{slug}?page_size=1", "products/",
    "products/{slug}/", "products/a%20b", "product", "categories?ordering=name", "categories/category-{slug}",
    "staff/products/{slug}",
]  # fmt: skip


def fill_in(path, slug, site):
    """Return a path of the table with its values, such as the cursor of a page."""
    first = f"{API}/products?category=category-{slug}&page_size=1"
    following = json.loads(site.ask_django(first).body)["next"]
    return f"{API}/" + path.format(slug=slug, cursor=following.partition("cursor=")[2], next=quote(following, safe=""))


def list_headers(etag):
    """Return environments with headers: first those that may be repeated, then those that may not."""
    repeated = [
        {}, {"HTTP_ORIGIN": SHOP}, {"HTTP_ORIGIN": OTHER}, {"HTTP_ORIGIN": "null"}, {"HTTP_ORIGIN": "http://["},
        {"HTTP_HOST": "localhost:9"}, {"HTTP_ACCEPT": "text/html"}, {"HTTP_ACCEPT": "application/xml;q=1"},
        {"HTTP_ACCEPT_LANGUAGE": "de"}, {"HTTP_ACCEPT_ENCODING": "gzip, br"}, {"HTTP_X_REQUEST_ID": "other-id"},
        {"HTTP_IF_NONE_MATCH": etag}, {"HTTP_IF_NONE_MATCH": etag.removeprefix("W/")}, {"HTTP_IF_NONE_MATCH": "*"},
        {"HTTP_IF_NONE_MATCH": f'"x", {etag}'}, {"HTTP_IF_NONE_MATCH": 'W/"x"'}, {"HTTP_IF_NONE_MATCH": etag.strip('W/"')},
        {"HTTP_IF_NONE_MATCH": UNREADABLE}, {"HTTP_IF_NONE_MATCH": etag, "HTTP_ORIGIN": SHOP},
        {"HTTP_IF_MODIFIED_SINCE": "Mon, 30 Nov 2026 10:00:00 GMT"}, {"HTTP_IF_MODIFIED_SINCE": "yesterday"},
        {"HTTP_X_FORWARDED_FOR": "203.0.113.9"}, {"HTTP_X_FORWARDED_PROTO": "https"}, {"HTTP_X_FORWARDED_HOST": "evil.example"},
        {"HTTP_TRACEPARENT": f"00-{'a' * 32}-{'b' * 16}-01"}, {"HTTP_USER_AGENT": UNREADABLE}, {"HTTP_REFERER": OTHER},
        {"HTTP_SEC_FETCH_SITE": "cross-site", "HTTP_SEC_FETCH_MODE": "cors"}, {"HTTP_CACHE_CONTROL": "no-cache"},
        {"wsgi.url_scheme": "https"}, {"SERVER_PORT": "9"},
    ]  # fmt: skip
    refused = [
        {"HTTP_AUTHORIZATION": "Bearer x"}, {"HTTP_AUTHORIZATION": "Basic x"}, {"HTTP_AUTHORIZATION": ""},
        {"HTTP_COOKIE": "sessionid=x"}, {"HTTP_HOST": "evil.example"}, {"HTTP_HOST": UNREADABLE}, {"HTTP_HOST": "a b"},
        {"HTTP_IF_MATCH": "*"}, {"HTTP_IF_MATCH": '"x"'}, {"HTTP_IF_UNMODIFIED_SINCE": "Mon, 30 Nov 2026 10:00:00 GMT"},
        {"HTTP_RANGE": "bytes=0-9"}, {"HTTP_X_HTTP_METHOD_OVERRIDE": "DELETE"}, {"HTTP_X_UNKNOWN": "1"},
        {"CONTENT_TYPE": "application/json"}, {BODY_PROBLEM: TIMED_OUT},
    ]  # fmt: skip
    return repeated, refused


def assert_same(site, target, method, environ, *, is_repeated):
    """Assert that the site answers as Django does, also when a request is repeated."""
    first = site.request(target, method, **environ)
    asked = site.asked
    again = site.request(target, method, **environ)
    assert (site.asked == asked) == is_repeated, (target, method, environ)
    assert again == first == site.ask_django(target, method, **environ), (target, method, environ)


@pytest.mark.parametrize("path", REPEATED)
def test_a_repeated_answer_is_that_of_django_for_every_header(site, slug, path):
    target = fill_in(path, slug, site)
    repeated, refused = list_headers(site.ask_django(target).get("ETag"))
    for environ, is_repeated in [*((one, True) for one in repeated), *((one, False) for one in refused)]:
        for method in METHODS:
            assert_same(site, target, method, environ, is_repeated=is_repeated)


@pytest.mark.parametrize("path", NOT_REPEATED)
def test_what_is_not_cached_is_answered_by_django(site, slug, path):
    target = fill_in(path, slug, site)
    for environ in ({}, {"HTTP_ORIGIN": SHOP}, {"HTTP_IF_NONE_MATCH": "*"}):
        for method in METHODS:
            assert_same(site, target, method, environ, is_repeated=False)


@pytest.mark.parametrize("method", OTHER_METHODS)
def test_other_methods_are_answered_by_django(site, slug, method):
    for path in REPEATED:
        target = fill_in(path, slug, site)
        site.request(target)
        assert_same(site, target, method, {}, is_repeated=False)


def test_behind_a_proxy_only_https_is_served(settings, slug):
    settings.TRUSTED_PROXIES = [ip_network("10.0.0.0/8")]
    settings.SECURE_SSL_REDIRECT, settings.SECURE_HSTS_SECONDS = True, 1000
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    site = Site()
    for target in (f"{API}/products/{slug}", f"{API}/products?page_size=1"):
        for address, scheme in (("10.0.0.7", "https"), ("10.0.0.7", "https, http")):
            environ = {"REMOTE_ADDR": address, "HTTP_X_FORWARDED_PROTO": scheme, "HTTP_X_FORWARDED_FOR": "203.0.113.9"}
            assert_same(site, target, "GET", environ, is_repeated=True)
            assert site.request(target, **environ).get("Strict-Transport-Security")
        for address, scheme in (("10.0.0.7", "http"), ("192.0.2.1", "https"), ("10.0.0.7", "")):
            environ = {"REMOTE_ADDR": address, "HTTP_X_FORWARDED_PROTO": scheme}
            assert_same(site, target, "GET", environ, is_repeated=False)
            assert site.request(target, **environ).status == "403 Forbidden"
        by_tls = {"REMOTE_ADDR": "10.0.0.7", "wsgi.url_scheme": "https"}
        assert_same(site, target, "GET", by_tls, is_repeated=True)
        assert_same(site, target, "GET", by_tls | {"HTTP_X_FORWARDED_PROTO": ""}, is_repeated=False)


CHANGES = {
    "price": "UPDATE inventory_variant SET price = price + 1 WHERE sku = %(sku)s",
    "currency": "UPDATE inventory_variant SET currency = 'USD' WHERE sku = %(sku)s",
    "product": "UPDATE inventory_product SET name = 'Bowl' WHERE slug = %(slug)s",
    "stock": "UPDATE inventory_stock SET on_hand = 4, initial = 4 WHERE sku = %(sku)s",
}


@pytest.fixture
def changed():
    """A new product: its slug and one SKU. Its category has the same slug."""
    slug = f"pan-{uuid4().hex}"
    sku = create_product([5, 6], slug=slug, category=slug)[0]
    yield {"slug": slug, "sku": sku}
    execute("inventory", "UPDATE inventory_variant SET currency = 'EUR' WHERE sku = %s", [sku])


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("path", ["products/{slug}", "products?category={slug}"])
def test_after_a_change_no_outdated_answer_is_repeated(site, changed, change, path):
    target = f"{API}/{path.format(**changed)}"
    site.request(target)
    before = site.repeat(target)
    execute("inventory", CHANGES[change], changed)
    after = site.request(target)
    assert after == site.ask_django(target)
    assert after.body != before.body
    assert site.repeat(target) == after


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("path", ["products/{slug}", "products?category={slug}"])
def test_after_a_change_the_former_etag_gets_the_new_content(site, changed, change, path):
    target = f"{API}/{path.format(**changed)}"
    etag = {"HTTP_IF_NONE_MATCH": site.request(target).get("ETag")}
    site.request(target, **etag)
    assert site.repeat(target, **etag).status == "304 Not Modified"
    execute("inventory", CHANGES[change], changed)
    after = site.request(target, **etag)
    assert (after.status, after) == ("200 OK", site.ask_django(target, **etag))


def test_reserved_units_are_missing_in_the_next_answer(site, changed):
    target = f"{API}/products/{changed['slug']}"
    site.request(target)
    reserve_units((changed["sku"], 2))
    assert json.loads(site.repeat(target).body)["variants"][0]["available"] == 3


def test_a_product_off_sale_is_not_repeated(site, changed):
    target = f"{API}/products/{changed['slug']}"
    site.request(target)
    execute("inventory", "UPDATE inventory_product SET is_active = false WHERE slug = %s", [changed["slug"]])
    assert site.request(target).status == "404 Not Found"


def test_links_name_the_host_of_the_request(site, slug):
    target = f"{API}/products?category=category-{slug}&page_size=1"
    for host in ("127.0.0.1:8000", "localhost:9", "127.0.0.1:8000", "localhost:9"):
        following = json.loads(site.request(target, HTTP_HOST=host).body)["next"]
        assert following.startswith(f"http://{host}/api/v1/products?")


def test_an_origin_gets_no_permission_of_another(site, slug):
    target = f"{API}/products/{slug}"
    for origin in (SHOP, OTHER, SHOP, OTHER):
        allowed = site.request(target, HTTP_ORIGIN=origin).get("access-control-allow-origin")
        assert allowed == (SHOP if origin == SHOP else None)


def test_searches_are_counted_however_often_they_are_repeated(settings):
    settings.RATE_LIMITS = True
    site, target = Site(), f"{API}/products?search=mug"
    remaining = [site.request(target, REMOTE_ADDR="192.0.2.77").get("RateLimit") for _ in range(3)]
    assert len(set(remaining)) == 3


def test_the_setting_leaves_all_to_django(site, slug, settings):
    settings.CATALOGUE_FAST_PATH = False
    target = f"{API}/products/{slug}"
    for _ in range(3):
        site.request(target)
    assert site.asked == 3


@pytest.fixture
def count_statements():
    """A context manager that yields the list of statements on the database of the catalogue."""

    @contextmanager
    def log_statements():
        connection = connections["inventory"]
        connection.force_debug_cursor = True
        connection.queries_log.clear()
        try:
            statements = []
            yield statements
            statements += connection.queries_log
        finally:
            connection.force_debug_cursor = False

    return log_statements


def test_a_repeated_answer_takes_one_statement_and_gives_its_connection_back(site, slug, count_statements):
    target = f"{API}/products?category=category-{slug}"
    site.request(target)
    with count_statements() as statements:
        site.repeat(target)
    assert len(statements) == 1
    assert connections["inventory"].connection is None


def test_while_the_database_is_silent_django_answers(site, slug, monkeypatch):
    target = f"{API}/products/{slug}"
    site.request(target)
    with monkeypatch.context() as patches:
        patches.setattr(get_circuit("inventory"), "next_probe_at", float("inf"))
        patches.setattr(get_circuit("inventory"), "is_open", True)
        answer = site.request(target)
        assert (site.asked, answer) == (2, site.ask_django(target))
    assert answer.status == "503 Service Unavailable"


@pytest.fixture
def log_lines():
    """A function that returns the log lines of requests, as the configured formatter writes them."""
    out, root, logger = io.StringIO(), logging.getLogger(), logging.getLogger("shop.requests")
    handler = logging.StreamHandler(out)
    handler.setFormatter(root.handlers[0].formatter)
    logger.addHandler(handler)
    level = logger.level
    logger.setLevel("INFO")
    yield lambda: [json.loads(line) for line in out.getvalue().splitlines()]
    logger.removeHandler(handler)
    logger.setLevel(level)


def test_a_repeated_request_leaves_the_same_log_line(site, slug, log_lines):
    target, environ = f"{API}/products/{slug}?utm_source=x", {"HTTP_X_REQUEST_ID": "id-1", "HTTP_IF_NONE_MATCH": "*"}
    for _ in range(2):
        site.request(target, "HEAD", **environ)
    assert site.asked == 1
    first, again = ({**line, "ms": None, "timestamp": None} for line in log_lines())
    assert first == again
    assert list(first) == list(again)
    assert (again["request_id"], again["status"], again["method"]) == ("id-1", 304, "HEAD")


def test_each_answer_has_its_own_request_id(site, slug):
    target = f"{API}/products/{slug}"
    ids = [site.request(target, HTTP_X_REQUEST_ID="").headers[-1] for _ in range(3)]
    assert len(set(ids)) == 3
    assert {name for name, _ in ids} == {"X-Request-ID"}


def test_after_a_change_of_the_catalogue_a_list_is_rendered_once_by_django(site, slug):
    target = f"{API}/products?category=category-{slug}"
    site.request(target)
    fetch_rows("inventory", "UPDATE inventory_category SET position = position")  # a new version
    site.request(target)
    assert site.asked == 2
    site.repeat(target)


PRODUCT_ENVIRONMENTS = [
    {}, {"HTTP_ORIGIN": SHOP}, {"HTTP_ORIGIN": OTHER}, {"HTTP_HOST": "localhost:9"}, {"HTTP_IF_NONE_MATCH": "*"},
    {"HTTP_IF_NONE_MATCH": 'W/"x"'}, {"wsgi.url_scheme": "https"},
]  # fmt: skip


def create_products(count):
    """Create products that no process has rendered, and return their paths."""
    slugs = [f"cup_{uuid4().hex}" for _ in range(count)]
    for units, slug in enumerate(slugs, 1):
        create_product([units, 2], slug=slug, name=f"Cup {units}")
    return [f"{API}/products/{slug}" for slug in slugs]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("environ", PRODUCT_ENVIRONMENTS)
def test_the_first_request_for_a_product_is_answered_as_django_does_once_another_product_was(site, method, environ):
    known, new = create_products(2)
    site.request(known, method, **environ)
    assert site.repeat(new, method, **environ) == site.ask_django(new, method, **environ)
    assert site.repeat(new, method, **environ) == site.ask_django(new, method, **environ)


def test_a_first_request_that_differs_in_what_a_head_depends_on_is_answered_by_django(site):
    known, *new = create_products(8)
    site.request(known)
    differing = [
        {"HTTP_ORIGIN": SHOP}, {"HTTP_HOST": "localhost:9"}, {"wsgi.url_scheme": "https"}, {"QUERY_STRING": "utm_source=x"},
        {"HTTP_COOKIE": "a=b"}, {"HTTP_AUTHORIZATION": "Bearer x"}, {"HTTP_RANGE": "bytes=0-9"},
    ]  # fmt: skip
    for number, (path, environ) in enumerate(zip(new, differing, strict=True), 2):
        answer = site.request(path, **environ)
        assert (site.asked, answer) == (number, site.ask_django(path, **environ))


@pytest.mark.parametrize(
    "end",
    [
        *"*ä\0",
        "",
        "no-such-product",
        "a%20b",
        "x/",
        "../products/x",
        "x\n",
        "{slug}?page_size=1",
        "{slug}/",
        "{slug}\n",
    ],
)
def test_a_path_that_names_no_product_is_answered_by_django(site, slug, end):
    site.request(f"{API}/products/{slug}")
    for method in METHODS:
        assert_same(site, f"{API}/products/{end.format(slug=slug)}", method, {}, is_repeated=False)


@pytest.mark.parametrize("path", ["", "staff/products/", "orders/", "categories/"])
def test_a_product_of_another_folder_is_not_answered(site, slug, path):
    site.request(f"{API}/products/{slug}")
    assert_same(site, f"{API}/{path}{slug}", "GET", {}, is_repeated=False)


def test_after_a_change_the_first_request_for_a_product_is_not_outdated(site, changed):
    [known] = create_products(1)
    target = f"{API}/products/{changed['slug']}"
    for change in CHANGES.values():
        site.request(known)
        before = site.request(target)
        execute("inventory", change, changed)
        after = site.repeat(target)
        assert after.body != before.body
        assert after == site.ask_django(target)
    execute("inventory", "UPDATE inventory_product SET is_active = false WHERE slug = %s", [changed["slug"]])
    assert site.request(target).status == "404 Not Found"


def test_waiting_requests_are_answered_together_each_with_its_own_content(site, slug):
    """Products and a list, known and new, one of them twice, and two that only Django can answer."""
    known, gone, *new = create_products(6)
    listing, unknown = f"{API}/products?category=category-{slug}", f"{API}/products/unknown"
    site.request(known), site.request(gone), site.request(listing)
    execute("inventory", "UPDATE inventory_product SET is_active = false WHERE slug = %s", [gone.rpartition("/")[2]])
    site.request(listing), site.request(known)
    targets = [new[0], known, listing, gone, new[1], known, unknown, new[2], new[3], listing]
    for _ in range(2):
        requests = [site.front.find(build_environ(target)) for target in targets]
        reserve_units(*((json.loads(site.ask_django(path).body)["variants"][1]["sku"], 1) for path in (known, new[2])))
        for target, answer in zip(targets, answer_together(requests), strict=True):
            expected = site.ask_django(target)
            assert answer == (None if expected.status == "404 Not Found" else expected), target


def test_requests_that_are_answered_together_take_one_statement(site, slug, count_statements):
    known, *new = create_products(4)
    site.request(known)
    with count_statements() as statements:
        assert all(answer_together([site.front.find(build_environ(path)) for path in [known, *new]]))
    assert len(statements) == 2  # one more for all those that are rendered
    with count_statements() as statements:
        assert all(answer_together([site.front.find(build_environ(path)) for path in [known, *new, *new]]))
    assert len(statements) == 1
    assert connections["inventory"].connection is None


def test_a_variant_whose_stock_is_missing_gives_its_product_no_units_of_another(site):
    paths = create_products(2)
    for path in paths:
        site.request(path)
    [sku, _] = (variant["sku"] for variant in json.loads(site.ask_django(paths[0]).body)["variants"])
    [stock] = fetch_rows("inventory", "DELETE FROM inventory_stock WHERE sku = %s RETURNING on_hand, initial", [sku])
    try:
        answers = list(answer_together([site.front.find(build_environ(path)) for path in paths]))
        assert answers == [site.ask_django(path) for path in paths]
    finally:
        execute("inventory", "INSERT INTO inventory_stock (sku, on_hand, initial) VALUES (%s, %s, %s)", [sku, *stock])
