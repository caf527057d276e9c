"""E-mails have the bytes that Django builds, although those of most are built without it, which takes a tenth of the time."""

import re
from email.charset import QP, Charset

import pytest
from django.core import mail
from hypothesis import example, given
from hypothesis import strategies as st

from contexts.notifications.channels.international_email import InternationalEmail
from shop.addresses.email import parse_mailbox
from tests.notifications import example_orders
from tests.notifications.messages import publish_order_confirmed, send_until
from tests.notifications.messages import read_email_of as read_email

SENDER = "Satsuma <shop@satsuma.example>"
RECEIPT = "Thank you.\n\n2 x Mug (MUG-1): 19.98 EUR\n\nTotal: 19.98 EUR\n\nSatsuma\nhttps://satsuma.example\n"
LONG_ID = f"<018f@{'long.' * 20}example>"


def build(subject="Your order", text=RECEIPT, *, sender=SENDER, to="kim@example.com", message_id="<1@x.example>"):
    parts = {"sender": parse_mailbox(sender), "to": to, "subject": subject, "text": text, "message_id": message_id}
    return InternationalEmail(**parts)


def build_by_django(
    subject="Your order", text=RECEIPT, *, sender=SENDER, to="kim@example.com", message_id="<1@x.example>"
):
    built = mail.EmailMessage(subject, text, str(parse_mailbox(sender)), [to], headers={"Message-ID": message_id})
    if not text.isascii():
        built.encoding = Charset("utf-8")
        built.encoding.body_encoding = QP
    return built.message().as_bytes(linesep="\r\n")


def without_date(content):
    """Return a message without the one field that depends on the time."""
    rest, count = re.subn(rb"\r\nDate: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d [-+]\d{4}\r\n", b"\r\n", content)
    assert count == 1
    return rest


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"text": "Grüße: 2 x Äpfel, 5 €\n" + "ö" * 200 + "\n= and trailing \nFrom here\n"},
        {"text": "long " * 300},
        {"text": "x" * 990 + "\n.\n..\n.dot\r\nmixed\rends\n\n"},
        {"text": ""},
        {"text": "no end"},
        {"subject": "Your order ÄÖ is confirmed"},
        {"subject": "=?utf-8?q?fake?="},
        {"subject": "two  spaces"},
        {"subject": "word " * 40 + "end"},
        {"subject": "x" * 100},
        {"sender": "Bücher & Söhne, GmbH <shop@satsuma.example>"},
        {"sender": '"Books, Inc." <shop@satsuma.example>'},
        {"sender": "A very long name of a shop that sells books and much else to everybody <shop@satsuma.example>"},
        {"to": f"{'k' * 60}@{'mail.' * 12}example"},
        {"message_id": LONG_ID},
        {"message_id": "<two words@x.example>"},
    ],
)
def test_a_mail_has_the_bytes_that_django_builds(parts):
    try:
        expected = without_date(build_by_django(**parts))
    except Exception as error:
        with pytest.raises(type(error)):
            build(**parts)
    else:
        assert without_date(build(**parts).content) == expected


ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"], max_codepoint=0x2FFF), max_size=200)


@given(subject=st.text(st.characters(codec="ascii", categories=["L", "P", "Zs"]), max_size=100), text=ANY_TEXT)
@example(subject="a", text="\x0b\x1c\x85\u2028")
def test_any_mail_has_the_bytes_that_django_builds(subject, text):
    try:
        expected = without_date(build_by_django(subject, text))
    except Exception as error:
        with pytest.raises(type(error)):
            build(subject, text)
    else:
        assert without_date(build(subject, text).content) == expected


def test_lines_that_begin_with_a_dot_arrive_as_they_are(mail_server):
    order = example_orders.add_order(name="Mug\n.\n..\n.dotted")
    publish_order_confirmed(order)
    send_until(lambda: read_email(order)["status"] == "sent")
    [received] = mail_server.mails_to(order.email)
    assert "\n.\n..\n.dotted" in received.get_content().replace("\r\n", "\n")
