"""What staff see of messages, and the one thing that they can do about them."""

import pytest

from contexts.notifications import handlers
from shop.database import rows
from shop.ids import uuid7
from tests.notifications import shelf
from tests.notifications.people import clerk, confirm, mail_of, send_until

LIST = "/admin/notifications/message/"


@pytest.fixture
def failed(postbox):
    """An order whose receipt was refused for good."""
    order = shelf.put()
    postbox.refusals[order.email] = ["550 no such mailbox"]
    confirm(order)
    handlers.send_waiting_messages()
    return order


def again(client, order):
    data = {"action": "send_again", "_selected_action": [str(mail_of(order)["id"])]}
    return client.post(LIST, data, follow=True)


def test_staff_find_a_message_by_its_order(failed):
    client = clerk(uuid7(), "notifications.view")
    page = client.get(LIST, {"q": str(failed.id)})
    assert page.status_code == 200 and "550 no such mailbox" in page.content.decode()
    for query in ({"q": "no id"}, {"status": "failed"}, {"channel": "in_app"}, {"template": "welcome"}):
        assert client.get(LIST, query).status_code == 200
    assert "550 no such mailbox" not in client.get(LIST, {"q": str(uuid7())}).content.decode()


def test_pages_of_one_message_can_be_looked_at_and_not_changed(failed):
    client = clerk(uuid7(), "notifications.change")
    for page in ("change/", "history/"):
        assert client.get(f"{LIST}{mail_of(failed)['id']}/{page}").status_code == 200
    assert client.get(f"{LIST}add/").status_code == 403
    client.post(f"{LIST}{mail_of(failed)['id']}/change/", {"status": "sent"})
    assert mail_of(failed)["status"] == "failed"


def test_staff_send_a_failed_message_again_and_the_audit_says_who(failed, postbox):
    before = mail_of(failed)
    assert "will be sent again" in again(clerk(uuid7(), "notifications.change"), failed).content.decode()
    send_until(lambda: mail_of(failed)["status"] == "sent")
    [mail] = postbox.to(failed.email)
    assert mail["Message-ID"] == before["message_id"]
    trail = rows("notifications", "SELECT actor, action FROM shop_auditentry WHERE object_id = %s", [str(before["id"])])
    assert trail == [("clerk", "send again")]


def test_a_message_that_was_sent_is_not_sent_again(failed, postbox):
    client = clerk(uuid7(), "notifications.change")
    again(client, failed)
    send_until(lambda: mail_of(failed)["status"] == "sent")
    assert "Only a message that failed" in again(client, failed).content.decode()
    assert mail_of(failed)["status"] == "sent" and len(postbox.to(failed.email)) == 1


def test_who_may_only_look_cannot_send(failed):
    again(clerk(uuid7(), "notifications.view"), failed)
    assert mail_of(failed)["status"] == "failed"
    assert clerk(uuid7(), "inventory.change").get(LIST).status_code == 403


def test_each_final_refusal_is_announced(failed, postbox):
    postbox.refusals[failed.email] = ["550 still no such mailbox"]
    again(clerk(uuid7(), "notifications.change"), failed)
    send_until(lambda: mail_of(failed)["status"] == "failed")
    assert mail_of(failed)["sequence"] == 2
