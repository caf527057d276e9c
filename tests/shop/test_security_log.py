"""The security log: one line for each event, refusals and changes without a call of their own, counts and receivers."""

from ipaddress import ip_network
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import Client, override_settings

from shop import clients, security_log
from shop.audit import audit
from shop.db.database import transaction
from shop.security_events import LOGIN_FAIL, list_security_events
from tests.security_log import recorded_events

DOCUMENT = Path(__file__).parents[2] / "docs" / "security-log.md"
received: list[tuple] = []


@pytest.fixture
def events():
    with recorded_events() as find:
        yield find


def receive(event, fields, **_):
    received.append((event.name, fields["reason"]))
    raise RuntimeError("the alert system is down")


@pytest.fixture
def receiver():
    received.clear()
    path = f"{__name__}.receive"
    security_log.connect_receiver(path)
    yield
    security_log.security_event_logged.disconnect(dispatch_uid=path)


def test_the_documentation_lists_all_events():
    rows = [f"| `{event.name}` | {event.level} | {event.when} |" for event in list_security_events()]
    assert "\n".join(rows) in DOCUMENT.read_text()


def test_a_change_is_logged_when_it_is_committed_and_not_before(events):
    with transaction("orders"):
        audit("orders", actor="ada@example.com", action="give away", object_type="order", object_id="7", note="secret")
        assert events() == []
    [entry] = events("authz_admin")
    assert (entry["context"], entry["object_type"], entry["object_id"], entry["reason"]) == (
        "orders", "order", "7", "give_away",
    )  # fmt: skip
    assert entry["actor_hash"] == security_log.hash_email("ADA@example.com")
    assert "ada@" not in str(entry)
    assert "secret" not in str(entry)


def test_a_change_that_is_rolled_back_is_not_logged(events):
    with pytest.raises(ZeroDivisionError), transaction("orders"):
        audit("orders", actor="import", action="give away", object_type="order", object_id="8")
        raise ZeroDivisionError
    assert events() == []


@pytest.mark.urls("tests.shop.http.urls")
@pytest.mark.parametrize(
    ("peer", "forwarded_for", "logged"),
    [
        ("203.0.113.9", "192.0.2.1", "203.0.113.9"),
        ("10.0.0.7", "192.0.2.1, 198.51.100.4", "198.51.100.4"),
    ],
)
def test_the_client_is_the_one_that_a_trusted_proxy_reports(events, peer, forwarded_for, logged):
    with override_settings(TRUSTED_PROXIES=[ip_network("10.0.0.7")]):
        Client(REMOTE_ADDR=peer).get("/customers", headers={"X-Forwarded-For": forwarded_for, "X-Real-IP": "192.0.2.2"})
    assert [entry["client_address"] for entry in events("authn_token_missing")] == [logged]


def test_events_are_counted_by_name_and_reason():
    key = (LOGIN_FAIL.name, "counted here")
    for expected in (1, 2):
        security_log.log_security_event(LOGIN_FAIL, reason="counted here")
        assert security_log.count_events()[key] == expected


def test_a_receiver_gets_each_event_and_its_error_is_only_logged(receiver, caplog):
    security_log.log_security_event(LOGIN_FAIL, reason="wrong_password")
    assert received == [(LOGIN_FAIL.name, "wrong_password")]
    assert "security_event_receiver_failed" in caplog.text


@pytest.mark.parametrize("path", ["tests.shop.no_such_module.receive", f"{__name__}.absent", f"{__name__}.DOCUMENT"])
def test_a_receiver_that_does_not_exist_stops_the_start(path):
    with pytest.raises(ImproperlyConfigured, match="SECURITY_EVENT_RECEIVERS names"):
        security_log.connect_receiver(path)


def test_the_client_ends_with_its_request(events):
    security_log.log_security_event(LOGIN_FAIL)
    assert events()[0]["client_address"] is None
    assert clients.current.get() is clients.NO_CLIENT
