"""The REST API of the customer's inbox."""

import base64

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext

from shop.ids import uuid7
from tests.http_client import Client
from tests.notifications import example_orders
from tests.notifications.clients import customer_client
from tests.notifications.messages import publish_order_confirmed, read_messages

INBOX = "/api/v1/notifications"


@pytest.fixture
def recipient():
    return uuid7()


def create_messages(user_id, times: int = 1) -> list:
    """Create orders with a message to the customer. Returns them newest first."""
    orders = [example_orders.add_order(user_id=user_id) for _ in range(times)]
    for order in orders:
        publish_order_confirmed(order)
    return orders[::-1]


def test_a_message_names_its_order_and_what_happened(recipient):
    [order] = create_messages(recipient)
    [message] = customer_client(recipient).get(INBOX).json()["results"]
    [row] = read_messages(order.id, "in_app")
    assert message.pop("created_at")
    assert message == {
        "id": str(row["id"]),
        "kind": "order_confirmed",
        "text": row["text"],
        "order_id": str(order.id),
        "read_at": None,
    }


def test_the_inbox_is_paginated_newest_first(recipient):
    orders, client = create_messages(recipient, times=5), customer_client(recipient)
    order_ids, url = [], f"{INBOX}?page_size=2"
    while url:
        page = client.get(url).json()
        assert len(page["results"]) <= 2
        order_ids += [message["order_id"] for message in page["results"]]
        url = page["next"]
    assert order_ids == [str(order.id) for order in orders]


def test_the_inbox_shows_only_the_callers_messages(recipient):
    create_messages(recipient)
    assert customer_client(uuid7()).get(INBOX).json()["results"] == []
    assert Client().get(INBOX).status_code == 401


def test_reading_is_recorded_once(recipient):
    create_messages(recipient)
    client = customer_client(recipient)
    [message] = client.get(INBOX).json()["results"]
    assert client.post(f"{INBOX}/{message['id']}/read").status_code == 204
    read_at = client.get(INBOX).json()["results"][0]["read_at"]
    assert read_at
    again = client.post(f"{INBOX}/{message['id']}/read")
    assert (again.status_code, again.content) == (204, b"")
    assert client.get(INBOX).json()["results"][0]["read_at"] == read_at


def test_a_repeat_with_the_same_key_returns_the_same_response(recipient):
    create_messages(recipient)
    client = customer_client(recipient)
    [message] = client.get(INBOX).json()["results"]
    for _ in range(2):
        answer = client.post(f"{INBOX}/{message['id']}/read", headers={"Idempotency-Key": "read-it"})
        assert (answer.status_code, answer.content) == (204, b"")


def test_a_foreign_message_an_email_and_an_unknown_one_are_not_found(recipient):
    [order] = create_messages(recipient)
    [mine] = read_messages(order.id, "in_app")
    assert customer_client(uuid7()).post(f"{INBOX}/{mine['id']}/read").status_code == 404
    assert customer_client(recipient).post(f"{INBOX}/{read_messages(order.id)[0]['id']}/read").status_code == 404
    unknown = customer_client(recipient).post(f"{INBOX}/{uuid7()}/read")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "notifications.message_not_found")
    assert Client().post(f"{INBOX}/{mine['id']}/read").status_code == 401


@pytest.mark.parametrize("position", ["p=garbage", "p=%00"])
def test_an_invalid_cursor_is_refused(recipient, position):
    cursor = base64.b64encode(position.encode()).decode()
    assert customer_client(recipient).get(INBOX, {"cursor": cursor}).status_code == 400


def test_a_page_of_the_inbox_takes_one_statement(recipient, in_one_process):
    create_messages(recipient, times=3)
    client = customer_client(recipient)
    with CaptureQueriesContext(connections["notifications"]) as captured:
        client.get(INBOX)
    assert len(captured) == 1
