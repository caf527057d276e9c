"""The admin of messages: staff search and resend them."""

import pytest

from contexts.notifications import handlers
from shop.db.database import fetch_rows
from shop.ids import uuid7
from tests.notifications import example_orders
from tests.notifications.messages import publish_order_confirmed, read_email_of, send_until
from tests.staff_accounts import email_of, sign_in_to_admin

LIST = "/admin/notifications/message/"
CLERK = email_of("notifications.change")


@pytest.fixture
def failed(mail_server):
    """Return an order whose receipt was refused permanently."""
    order = example_orders.add_order()
    mail_server.refusals[order.email] = ["550 no such mailbox"]
    publish_order_confirmed(order)
    handlers.send_waiting_messages()
    return order


def resend(client, order):
    data = {"action": "resend", "_selected_action": [str(read_email_of(order)["id"])]}
    return client.post(LIST, data, follow=True)


def test_staff_find_a_message_by_its_order(failed):
    client = sign_in_to_admin("notifications.view")
    page = client.get(LIST, {"q": str(failed.id)})
    assert page.status_code == 200 and "550 no such mailbox" in page.content.decode()
    for term in (failed.number, f"#{failed.number.lower()}", failed.number[2:7]):
        page = client.get(LIST, {"q": term}).content.decode()
        assert "550 no such mailbox" in page and f'href="/admin/orders/order/{failed.id}/change/"' in page
    for query in ({"q": "no id"}, {"status": "failed"}, {"channel": "in_app"}, {"template": "welcome"}):
        assert client.get(LIST, query).status_code == 200
    assert "550 no such mailbox" not in client.get(LIST, {"q": str(uuid7())}).content.decode()


def test_message_pages_are_read_only(failed):
    client = sign_in_to_admin("notifications.change")
    for page in ("change/", "history/"):
        assert client.get(f"{LIST}{read_email_of(failed)['id']}/{page}").status_code == 200
    assert client.get(f"{LIST}add/").status_code == 403
    client.post(f"{LIST}{read_email_of(failed)['id']}/change/", {"status": "sent"})
    assert read_email_of(failed)["status"] == "failed"


def test_staff_resend_a_failed_message_and_the_audit_records_who(failed, mail_server):
    before = read_email_of(failed)
    assert "will be sent again" in resend(sign_in_to_admin("notifications.change"), failed).content.decode()
    send_until(lambda: read_email_of(failed)["status"] == "sent")
    [mail] = mail_server.mails_to(failed.email)
    assert mail["Message-ID"] == before["message_id"]
    trail = fetch_rows(
        "notifications", "SELECT actor, action FROM shop_auditentry WHERE object_id = %s", [str(before["id"])]
    )
    assert trail == [(CLERK, "send again")]


def test_a_message_that_was_sent_is_not_sent_again(failed, mail_server):
    client = sign_in_to_admin("notifications.change")
    resend(client, failed)
    send_until(lambda: read_email_of(failed)["status"] == "sent")
    assert "Only a failed message" in resend(client, failed).content.decode()
    assert read_email_of(failed)["status"] == "sent" and len(mail_server.mails_to(failed.email)) == 1


def test_view_permission_does_not_allow_sending(failed):
    resend(sign_in_to_admin("notifications.view"), failed)
    assert read_email_of(failed)["status"] == "failed"
    assert sign_in_to_admin("inventory.change").get(LIST).status_code == 403


def test_each_final_refusal_is_published(failed, mail_server):
    mail_server.refusals[failed.email] = ["550 still no such mailbox"]
    resend(sign_in_to_admin("notifications.change"), failed)
    send_until(lambda: read_email_of(failed)["status"] == "failed")
    assert read_email_of(failed)["sequence"] == 2
