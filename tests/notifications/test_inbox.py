"""The customer's inbox over HTTP."""

import base64

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext

from shop.ids import uuid7
from tests.browser import Client
from tests.notifications import shelf
from tests.notifications.people import confirm, customer, messages

INBOX = "/api/v1/notifications"


@pytest.fixture
def kim():
    return uuid7()


def told(user_id, times: int = 1) -> list:
    """Orders that a customer was told about, the latest first."""
    orders = [shelf.put(user_id=user_id) for _ in range(times)]
    for order in orders:
        confirm(order)
    return orders[::-1]


def test_a_message_says_what_happened_to_which_order(kim):
    [order] = told(kim)
    [message] = customer(kim).get(INBOX).json()["results"]
    [row] = messages(order.id, "in_app")
    assert message.pop("created_at")
    assert message == {
        "id": str(row["id"]), "kind": "order_confirmed", "text": row["text"], "order_id": str(order.id), "read_at": None,
    }  # fmt: skip


def test_the_inbox_comes_in_pages_the_latest_first(kim):
    orders, client = told(kim, times=5), customer(kim)
    seen, address = [], f"{INBOX}?page_size=2"
    while address:
        page = client.get(address).json()
        assert len(page["results"]) <= 2
        seen += [message["order_id"] for message in page["results"]]
        address = page["next"]
    assert seen == [str(order.id) for order in orders]


def test_the_inbox_shows_only_what_is_mine(kim):
    told(kim)
    assert customer(uuid7()).get(INBOX).json()["results"] == []
    assert Client().get(INBOX).status_code == 401


def test_reading_is_noted_once(kim):
    told(kim)
    client = customer(kim)
    [message] = client.get(INBOX).json()["results"]
    assert client.post(f"{INBOX}/{message['id']}/read").status_code == 204
    read_at = client.get(INBOX).json()["results"][0]["read_at"]
    assert read_at
    again = client.post(f"{INBOX}/{message['id']}/read")
    assert (again.status_code, again.content) == (204, b"")
    assert client.get(INBOX).json()["results"][0]["read_at"] == read_at


def test_reading_with_a_key_answers_the_same_again(kim):
    told(kim)
    client = customer(kim)
    [message] = client.get(INBOX).json()["results"]
    for _ in range(2):
        answer = client.post(f"{INBOX}/{message['id']}/read", headers={"Idempotency-Key": "read-it"})
        assert (answer.status_code, answer.content) == (204, b"")


def test_a_foreign_message_an_email_and_an_unknown_one_are_not_found(kim):
    [order] = told(kim)
    [mine] = messages(order.id, "in_app")
    assert customer(uuid7()).post(f"{INBOX}/{mine['id']}/read").status_code == 404
    assert customer(kim).post(f"{INBOX}/{messages(order.id)[0]['id']}/read").status_code == 404
    unknown = customer(kim).post(f"{INBOX}/{uuid7()}/read")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "notifications.message_not_found")
    assert Client().post(f"{INBOX}/{mine['id']}/read").status_code == 401


@pytest.mark.parametrize("position", ["p=garbage", "p=%00"])
def test_a_cursor_that_is_not_ours_is_refused(kim, position):
    cursor = base64.b64encode(position.encode()).decode()
    assert customer(kim).get(INBOX, {"cursor": cursor}).status_code == 400


def test_a_page_of_the_inbox_takes_one_statement(kim, in_one_process):
    told(kim, times=3)
    client = customer(kim)
    with CaptureQueriesContext(connections["notifications"]) as captured:
        client.get(INBOX)
    assert len(captured) == 1
