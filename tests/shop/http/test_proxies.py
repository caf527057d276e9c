"""The client's address behind proxies: forwarded headers count only from a trusted proxy."""

import uuid
from ipaddress import ip_network

import pytest
from django.http import HttpResponse
from django.test import RequestFactory

from contexts.users.service.sign_in_throttle import SignInThrottle
from shop.db.database import fetch_rows
from shop.http.proxies import TrustedProxies, find_client_address
from tests.users.accounts import Person, send, sign_in, unique_email, unique_ip_address

PROXY, INNER = "172.18.0.2", "172.18.0.3"
STRANGER = "203.0.113.9"

# the peer's address, X-Forwarded-For, and the expected client address
CHAINS = {
    "no header": (PROXY, "", PROXY),
    "one proxy": (PROXY, "198.51.100.7", "198.51.100.7"),
    "two proxies": (PROXY, f"198.51.100.7, {INNER}", "198.51.100.7"),
    "the client sent a header": (PROXY, "6.6.6.6, 198.51.100.7", "198.51.100.7"),
    "the client forges the address of a trusted proxy": (PROXY, f"6.6.6.6, {INNER}, 198.51.100.7", "198.51.100.7"),
    "the client sent garbage": (PROXY, "<script>, 198.51.100.7", "198.51.100.7"),
    "the proxy sent garbage": (PROXY, "6.6.6.6, unknown", PROXY),
    "IPv6": (PROXY, "2001:db8::7", "2001:db8::7"),
    "IPv4 in IPv6": (f"::ffff:{PROXY}", "198.51.100.7", "198.51.100.7"),
    "IPv4 with a port": (PROXY, "203.0.113.7:4711", "203.0.113.7"),
    "IPv6 with a port": (PROXY, "[2001:db8::1]:4711", "2001:db8::1"),
    "IPv6 in brackets": (PROXY, "[2001:db8::1]", "2001:db8::1"),
    "IPv4 in IPv6 with a port": (PROXY, "[::ffff:203.0.113.7]:4711", "203.0.113.7"),
    "IPv6 whose last group looks like a port": (PROXY, "2001:db8::1:4711", "2001:db8::1:4711"),
    "a proxy with a port": (PROXY, f"203.0.113.7:4711, {INNER}:80", "203.0.113.7"),
    "only the port of a client differs from that of a proxy": (PROXY, f"6.6.6.6, {STRANGER}:4711", STRANGER),
    "only proxies": (PROXY, INNER, INNER),
    "the peer is not a trusted proxy": (STRANGER, "6.6.6.6", STRANGER),
    "a socket without an address": ("", "6.6.6.6", ""),
}


MALFORMED = [
    "203.0.113.7:", "203.0.113.7:65536", "203.0.113.7:-1", "203.0.113.7:4711:4711", "203.0.113.7:http", "203.0.113:4711",
    "[203.0.113.7]:4711", "[2001:db8::1", "2001:db8::1]:4711", "[2001:db8::1]4711", "[2001:db8::1]:", "[2001:db8::1]:99999",
    "[]:4711", ":4711", "203.0.113.7 :4711", "[fe80::1%eth0]:4711", "unknown:4711", "203.0.113.7:٤٧١١",
]  # fmt: skip


@pytest.fixture
def behind_a_proxy(settings):
    settings.TRUSTED_PROXIES = (ip_network("172.18.0.0/16"),)


@pytest.mark.parametrize("case", CHAINS)
def test_the_client_is_the_nearest_address_that_is_not_a_trusted_proxy(behind_a_proxy, case):
    peer, forwarded_for, expected = CHAINS[case]
    assert meta_after_middleware(REMOTE_ADDR=peer, HTTP_X_FORWARDED_FOR=forwarded_for)["REMOTE_ADDR"] == expected


@pytest.mark.parametrize("entry", MALFORMED)
def test_a_malformed_entry_counts_as_the_proxy_that_added_it(behind_a_proxy, entry):
    assert find_client_address(PROXY, ["6.6.6.6", entry]) == PROXY
    assert find_client_address(PROXY, [entry, f" {INNER}:80 "]) == INNER


def test_clients_with_ports_are_counted_by_their_addresses(behind_a_proxy):
    one, other = unique_ip_address(), unique_ip_address()
    for number, address in enumerate((one, one, other)):
        try_to_sign_in(REMOTE_ADDR=PROXY, HTTP_X_FORWARDED_FOR=f"{address}:{4711 + number}")
    assert (count_failures(one), count_failures(other)) == (2, 1)


def test_without_a_trusted_proxy_forwarded_headers_are_ignored():
    meta = meta_after_middleware(REMOTE_ADDR=PROXY, HTTP_X_FORWARDED_FOR="6.6.6.6", HTTP_X_FORWARDED_PROTO="https")
    assert meta["REMOTE_ADDR"] == PROXY
    assert not {"HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_PROTO"} & set(meta)


def test_control_trusting_every_network_accepts_forged_addresses(settings):
    """A start-up check refuses a network that contains every address, for this reason."""
    settings.TRUSTED_PROXIES = (ip_network("0.0.0.0/0"),)
    assert find_client_address(STRANGER, ["6.6.6.6", "198.51.100.7"]) == "6.6.6.6"


def meta_after_middleware(**meta: str) -> dict:
    """Return the META that a view sees."""
    requests = []
    TrustedProxies(lambda request: requests.append(request) or HttpResponse())(RequestFactory().get("/", **meta))
    return requests[0].META


@pytest.fixture(autouse=True)
def limited_sign_ins(settings):
    settings.RATE_LIMITS = True


def count_failures(address: str) -> int:
    [subject] = SignInThrottle(account="", address=address, entrance="public").limiter.counters
    sql = "SELECT cardinality(hits) FROM shop_ratelimit WHERE subject = %s"
    return sum(count for (count,) in fetch_rows("users", sql, [subject]))


def try_to_sign_in(**headers: str) -> None:
    person = Person(id=uuid.uuid4(), email=unique_email())
    assert sign_in(person, "not the password", **headers).status_code == 401


def test_clients_behind_a_gateway_are_counted_separately(behind_a_proxy):
    one, other = unique_ip_address(), unique_ip_address()
    before = count_failures(PROXY)
    for address in (one, one, other):
        try_to_sign_in(REMOTE_ADDR=PROXY, HTTP_X_FORWARDED_FOR=address)
    assert (count_failures(one), count_failures(other), count_failures(PROXY) - before) == (2, 1, 0)


def test_a_client_with_changing_headers_is_counted_once(behind_a_proxy):
    mine, forged = unique_ip_address(), [unique_ip_address() for _ in range(3)]
    for address in forged:
        try_to_sign_in(REMOTE_ADDR=PROXY, HTTP_X_FORWARDED_FOR=f"{address}, {mine}", HTTP_FORWARDED=f"for={address}")
    assert [count_failures(address) for address in (mine, *forged)] == [3, 0, 0, 0]


def test_a_client_that_bypasses_the_gateway_is_counted_by_its_own_address(behind_a_proxy):
    mine, forged = unique_ip_address(), unique_ip_address()
    try_to_sign_in(REMOTE_ADDR=mine, HTTP_X_FORWARDED_FOR=forged)
    assert (count_failures(mine), count_failures(forged)) == (1, 0)


@pytest.fixture
def https(settings):
    settings.SECURE_SSL_REDIRECT = True
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")


@pytest.mark.parametrize(
    ("peer", "scheme", "status"),
    [(PROXY, "https", 200), (PROXY, "http", 403), (PROXY, "", 403), (STRANGER, "https", 403)],
)
def test_https_is_accepted_from_a_trusted_proxy_only(behind_a_proxy, https, peer, scheme, status):
    headers = {"HTTP_X_FORWARDED_PROTO": scheme} if scheme else {}
    assert send("get", "categories", REMOTE_ADDR=peer, **headers).status_code == status


def test_an_unknown_host_is_refused():
    assert send("get", "categories", HTTP_HOST="evil.example").status_code == 400
    assert (
        send("get", "categories", HTTP_HOST="127.0.0.1:8000", HTTP_X_FORWARDED_HOST="evil.example").status_code == 200
    )
