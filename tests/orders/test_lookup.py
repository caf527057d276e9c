"""A guest's access to an order: the link in the e-mails, and POST orders/lookup, which sends the link again."""

import re
import uuid
from email.message import EmailMessage
from functools import partial

import pytest

from contexts.notifications.models import Message
from shop.db.database import execute, fetch_rows
from shop.db.retention import list_model_rules
from shop.purging import purge_now
from tests.concurrency import eventually
from tests.engine_driver import run_timers, run_until_idle
from tests.factories import create_sku
from tests.mail_server import FakeMailServer
from tests.orders.test_budget import measure
from tests.shopper import InProcessShopper
from tests.topologies.five_processes import single_process

pytestmark = pytest.mark.usefixtures("verified")


@pytest.fixture
def mail_server(settings):
    server = FakeMailServer()
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", server.port
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    execute(
        "notifications", "UPDATE notifications_message SET due_at = now() + interval '1 day' WHERE status = 'waiting'"
    )
    server.start()
    yield server
    server.stop()


def unique_email() -> str:
    return f"{uuid.uuid4().hex}@example.com"


def await_mails(server: FakeMailServer, address: str, count: int) -> list[EmailMessage]:
    """Run the engine until an address has received this many e-mails."""
    send = partial(run_timers, "notifications")
    eventually(lambda: len(server.mails_to(address)) >= count, run_until_idle, send, timeout=20)
    assert len(server.mails_to(address)) == count
    return server.mails_to(address)


def find_link(mail: EmailMessage) -> str:
    [link] = re.findall(r"https?://\S+token=\S+", mail.get_content())
    return link


def look_up(shopper: InProcessShopper, number: str, email: str):
    return shopper.post("orders/lookup", {"number": number, "email": email})


@pytest.mark.parametrize("spelling", ["jörg", "jo\u0308rg", "JÖRG"])
@pytest.mark.parametrize("domain", ["münchen.example", "MU\u0308NCHEN.example", "xn--mnchen-3ya.example"])
def test_every_spelling_of_an_international_address_finds_the_order(shopper, mail_server, spelling, domain):
    tag = uuid.uuid4().hex
    order = shopper.order(create_sku(1), email=f"jörg.{tag}@münchen.example").body
    run_until_idle()
    look_up(shopper, order["number"], f"{spelling}.{tag}@{domain}")
    sql = """SELECT count(*) FROM shop_outboxevent
             WHERE name = 'orders.order_link_requested' AND payload::json ->> 'order_id' = %s"""
    assert fetch_rows("orders", sql, [order["id"]]) == [(1,)]


def test_the_receipt_has_a_link_that_shows_the_order_to_a_guest(shopper, mail_server):
    email = unique_email()
    order = shopper.order(create_sku(1), email=email).body
    [receipt] = await_mails(mail_server, email, 1)
    link = find_link(receipt)
    shown = InProcessShopper().get("/" + link.split("/", 3)[3])
    assert (shown.status, shown.body["id"], shown.body["token"]) == (200, order["id"], order["token"])
    assert shopper.get("/" + link.split("/", 3)[3].replace("?", "/timeline?")).status == 200
    assert shopper.get(f"/api/v1/orders/{order['id']}?token=wrong").status == 404


@pytest.mark.parametrize("write", [lambda n: n, lambda n: "#" + n, lambda n: f" # {n.lower()} "])
def test_a_lookup_sends_the_link_for_a_number_in_any_notation(shopper, mail_server, write):
    email = unique_email()
    order = shopper.order(create_sku(1), email=email).body
    await_mails(mail_server, email, 1)
    answer = look_up(shopper, write(order["number"]), email.upper())
    assert (answer.status, answer.content) == (202, b"")
    mail = await_mails(mail_server, email, 2)[-1]
    assert mail["Subject"] == f"Your order {order['number']}"
    assert shopper.get("/" + find_link(mail).split("/", 3)[3]).body["id"] == order["id"]


def test_each_lookup_sends_a_fresh_mail(shopper, mail_server):
    email = unique_email()
    order = shopper.order(create_sku(1), email=email).body
    for count in (2, 3):
        look_up(shopper, order["number"], email)
        mails = await_mails(mail_server, email, count)
    assert len({mail["Message-ID"] for mail in mails}) == 3


def test_lookups_while_the_mail_waits_send_one_mail(shopper, mail_server):
    email = unique_email()
    order = shopper.order(create_sku(1), email=email).body
    await_mails(mail_server, email, 1)
    for _ in range(5):
        look_up(shopper, order["number"], email)
    run_until_idle()
    await_mails(mail_server, email, 2)


def test_a_lookup_that_matches_no_order_gets_the_same_response_and_sends_no_mail(shopper, mail_server):
    email, other = unique_email(), unique_email()
    order = shopper.order(create_sku(1), email=email).body
    answers = [look_up(shopper, order["number"], other), look_up(shopper, "ZZZZZZZZZZ", email)]
    assert [(answer.status, answer.content) for answer in answers] == [(202, b"")] * 2
    await_mails(mail_server, email, 1)
    sql = "SELECT template FROM notifications_message WHERE order_id = %s"
    assert fetch_rows("notifications", sql, [order["id"]]) == [("order_confirmed",)]
    assert mail_server.mails_to(other) == []


def test_a_lookup_that_matches_no_order_executes_the_same_statements(shopper):
    order = shopper.order(create_sku(1), email=(email := unique_email())).body
    with single_process():
        matching, missing, unknown = (
            [sql.partition("VALUES")[0].partition("WHERE")[0].partition("(")[0] for sql in count.all]
            for count in (
                measure(lambda: look_up(shopper, order["number"], email)),
                measure(lambda: look_up(shopper, order["number"], unique_email())),
                measure(lambda: look_up(shopper, "ZZZZZZZZZZ", email)),
            )
        )
    assert matching == missing == unknown


def test_no_event_has_the_address_or_the_token(shopper):
    email = unique_email()
    order = shopper.order(create_sku(1), email=email).body
    look_up(shopper, order["number"], email)
    stored = str(fetch_rows("orders", "SELECT payload FROM shop_outboxevent ORDER BY occurred_at DESC LIMIT 20"))
    assert order["id"] in stored
    assert email not in stored and order["token"] not in stored


@pytest.mark.parametrize(
    "body", [{}, {"number": "A"}, {"number": "", "email": "a@example.com"}, {"number": "A", "email": "x"}]
)
def test_an_incomplete_lookup_is_refused(shopper, body):
    assert shopper.post("orders/lookup", body).status == 400


def test_a_storefront_chooses_its_own_link(shopper, mail_server, settings):
    settings.ORDER_LINK_TEMPLATE = "https://store.example/track/{number}#token={token}"
    email = unique_email()
    order = shopper.order(create_sku(1), email=email).body
    [receipt] = await_mails(mail_server, email, 1)
    assert find_link(receipt) == f"https://store.example/track/{order['number']}#token={order['token']}"


def test_that_a_link_was_sent_is_deleted_after_a_month_and_other_messages_are_kept(shopper, mail_server):
    email = unique_email()
    order = shopper.order(create_sku(1), email=email).body
    await_mails(mail_server, email, 1)
    look_up(shopper, order["number"], email)
    await_mails(mail_server, email, 2)

    def age_and_purge(days):
        execute(
            "notifications",
            "UPDATE notifications_message SET created_at = created_at - %s * interval '1 day' WHERE order_id = %s",
            [days, order["id"]],
        )
        purge_now("notifications", list_model_rules(Message))
        found = fetch_rows(
            "notifications", "SELECT template FROM notifications_message WHERE order_id = %s", [order["id"]]
        )
        return sorted(template for (template,) in found)

    eventually(lambda: age_and_purge(0) == ["order_confirmed", "order_link"])
    assert age_and_purge(29) == ["order_confirmed", "order_link"]
    assert age_and_purge(2) == ["order_confirmed"]
