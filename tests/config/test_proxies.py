"""Who asks, when a proxy stands before the shop: believed only where the proxy is one of ours."""

import uuid
from ipaddress import ip_network

import pytest
from django.http import HttpResponse
from django.test import RequestFactory

from config.proxies import TrustedProxies, client
from contexts.users.service import attempts
from shop.database import rows
from tests.users.people import Person, fresh_address, fresh_email, send, sign_in

PROXY, INNER = "172.18.0.2", "172.18.0.3"
STRANGER = "203.0.113.9"

# who speaks to us, what X-Forwarded-For says, who it is taken to be
CHAINS = {
    "nothing is said": (PROXY, "", PROXY),
    "one proxy": (PROXY, "198.51.100.7", "198.51.100.7"),
    "two proxies": (PROXY, f"198.51.100.7, {INNER}", "198.51.100.7"),
    "the client wrote something before": (PROXY, "6.6.6.6, 198.51.100.7", "198.51.100.7"),
    "the client pretends to be behind our proxy": (PROXY, f"6.6.6.6, {INNER}, 198.51.100.7", "198.51.100.7"),
    "the client wrote garbage": (PROXY, "<script>, 198.51.100.7", "198.51.100.7"),
    "the proxy wrote garbage": (PROXY, "6.6.6.6, unknown", PROXY),
    "IPv6": (PROXY, "2001:db8::7", "2001:db8::7"),
    "IPv4 in IPv6": (f"::ffff:{PROXY}", "198.51.100.7", "198.51.100.7"),
    "only proxies": (PROXY, INNER, INNER),
    "a stranger speaks to us": (STRANGER, "6.6.6.6", STRANGER),
    "a socket without an address": ("", "6.6.6.6", ""),
}


@pytest.fixture
def behind_a_proxy(settings):
    settings.TRUSTED_PROXIES = (ip_network("172.18.0.0/16"),)


@pytest.mark.parametrize("case", CHAINS)
def test_the_client_is_the_nearest_address_that_is_no_proxy_of_ours(behind_a_proxy, case):
    peer, said, expected = CHAINS[case]
    assert seen(REMOTE_ADDR=peer, HTTP_X_FORWARDED_FOR=said)["REMOTE_ADDR"] == expected


def test_without_a_trusted_proxy_nobody_is_believed():
    meta = seen(REMOTE_ADDR=PROXY, HTTP_X_FORWARDED_FOR="6.6.6.6", HTTP_X_FORWARDED_PROTO="https")
    assert meta["REMOTE_ADDR"] == PROXY
    assert not {"HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_PROTO"} & set(meta)


def test_whoever_trusted_everybody_would_take_a_clients_word(settings):
    """The control, and why a network of everybody is refused at start."""
    settings.TRUSTED_PROXIES = (ip_network("0.0.0.0/0"),)
    assert client(STRANGER, ["6.6.6.6", "198.51.100.7"]) == "6.6.6.6"


def seen(**meta: str) -> dict:
    """What a view finds in META."""
    requests = []
    TrustedProxies(lambda request: requests.append(request) or HttpResponse())(RequestFactory().get("/", **meta))
    return requests[0].META


def failures_of(address: str) -> int:
    subject = attempts.subjects(account="", address=address)["address"]
    return sum(count for (count,) in rows("users", "SELECT count FROM users_signinattempts WHERE subject = %s", [subject]))


def try_to_sign_in(**headers: str) -> None:
    person = Person(id=uuid.uuid4(), email=fresh_email())
    assert sign_in(person, "not the password", **headers).status_code == 401


def test_clients_behind_a_gateway_are_counted_each_for_itself(behind_a_proxy):
    one, other = fresh_address(), fresh_address()
    before = failures_of(PROXY)
    for address in (one, one, other):
        try_to_sign_in(REMOTE_ADDR=PROXY, HTTP_X_FORWARDED_FOR=address)
    assert (failures_of(one), failures_of(other), failures_of(PROXY) - before) == (2, 1, 0)


def test_a_client_that_changes_what_it_writes_is_counted_as_one(behind_a_proxy):
    mine, forged = fresh_address(), [fresh_address() for _ in range(3)]
    for address in forged:
        try_to_sign_in(REMOTE_ADDR=PROXY, HTTP_X_FORWARDED_FOR=f"{address}, {mine}", HTTP_FORWARDED=f"for={address}")
    assert [failures_of(address) for address in (mine, *forged)] == [3, 0, 0, 0]


def test_a_client_that_goes_around_the_gateway_is_counted_by_its_own_address(behind_a_proxy):
    mine, forged = fresh_address(), fresh_address()
    try_to_sign_in(REMOTE_ADDR=mine, HTTP_X_FORWARDED_FOR=forged)
    assert (failures_of(mine), failures_of(forged)) == (1, 0)


@pytest.fixture
def https(settings):
    settings.SECURE_SSL_REDIRECT = True
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")


@pytest.mark.parametrize(
    ("peer", "said", "status"), [(PROXY, "https", 200), (PROXY, "http", 301), (PROXY, "", 301), (STRANGER, "https", 301)]
)
def test_that_a_request_came_by_https_is_what_a_trusted_proxy_says(behind_a_proxy, https, peer, said, status):
    headers = {"HTTP_X_FORWARDED_PROTO": said} if said else {}
    assert send("get", "categories", REMOTE_ADDR=peer, **headers).status_code == status


def test_another_host_than_the_sites_is_refused():
    assert send("get", "categories", HTTP_HOST="evil.example").status_code == 400
    assert send("get", "categories", HTTP_HOST="127.0.0.1:8000", HTTP_X_FORWARDED_HOST="evil.example").status_code == 200


