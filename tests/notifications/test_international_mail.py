"""International addresses, names and subjects: transferred correctly, or refused with a clear reason."""

import pytest
from django.conf import settings as django_settings

from contexts.notifications import handlers
from contexts.notifications.channels import email
from tests.notifications import example_orders
from tests.notifications.messages import deliver, publish_order_confirmed, read_email_of


def send_receipt(address):
    order = example_orders.add_order(email=address)
    publish_order_confirmed(order)
    handlers.send_waiting_messages()
    return read_email_of(order)


@pytest.fixture
def ascii_mail_server(mail_server):
    """A mail server that does not offer SMTPUTF8."""
    mail_server.stop()
    mail_server.offers_smtputf8 = False
    mail_server.start()
    return mail_server


@pytest.mark.parametrize("address", ["jörg@example.com", "用户@example.com", "почта@example.com"])
def test_an_international_address_is_sent_to_as_it_is(mail_server, address):
    assert send_receipt(address)["status"] == "sent"
    [transfer] = mail_server.transfers
    assert (transfer.recipients, transfer.is_utf8) == ([address], True)
    assert f"To: {address}\r\n".encode() in transfer.content
    [mail] = mail_server.mails
    assert mail["Subject"].endswith("is confirmed") and "Total: 19.98 EUR" in mail.get_content()


def test_an_international_address_fails_clearly_if_the_mail_server_does_not_support_it(ascii_mail_server):
    refused, other = example_orders.add_order(email="jörg@example.com"), example_orders.add_order()
    publish_order_confirmed(refused)
    publish_order_confirmed(other)
    handlers.send_waiting_messages()
    mail = read_email_of(refused)
    assert (mail["status"], mail["sent_at"], mail["sequence"]) == ("failed", None, 1)
    assert "international" in mail["reason"] and "SMTPUTF8" in mail["reason"] and "jörg" not in mail["reason"]
    assert [transfer.recipients for transfer in ascii_mail_server.transfers] == [[other.email]]


@pytest.mark.parametrize(
    ("address", "recipient"),
    [
        ("kim@bücher.example", "kim@xn--bcher-kva.example"),
        ("kim@straße.example", "kim@xn--strae-oqa.example"),  # IDNA 2003 would write to strasse.example
        ("kim@例え.example", "kim@xn--r8jz45g.example"),
        ("kim@BÜCHER.example", "kim@xn--bcher-kva.example"),
        ("kim@xn--bcher-kva.example", "kim@xn--bcher-kva.example"),
    ],
)
def test_an_international_domain_needs_no_special_mail_server(ascii_mail_server, address, recipient):
    assert send_receipt(address)["status"] == "sent"
    [transfer] = ascii_mail_server.transfers
    assert (transfer.recipients, transfer.is_utf8) == ([recipient], False)
    assert transfer.content.isascii() and f"To: {recipient}\r\n".encode() in transfer.content


def test_both_parts_of_an_address_may_be_international(mail_server):
    assert send_receipt("jörg@bücher.example")["status"] == "sent"
    assert mail_server.transfers[0].recipients == ["jörg@xn--bcher-kva.example"]


@pytest.mark.parametrize(
    "address", ["kim@bü\u200bcher.example", "kim@-bücher.example", "kim@ü..example", "a\u202eb@example.com"]
)
def test_an_address_that_cannot_exist_fails(mail_server, address):
    mail = send_receipt(address)
    assert (mail["status"], mail["reason"]) == ("failed", "the e-mail address is invalid")
    assert mail_server.mails == []


def test_the_shops_name_and_a_subject_are_encoded(ascii_mail_server, settings):
    settings.DEFAULT_FROM_EMAIL = '"Bücher & Söhne, GmbH" <shop@bücher.example>'
    subject = "Grüße: " + "schöne Äpfel und Öfen " * 10 + "€"
    message = email.OutgoingEmail(
        message_id="<1@satsuma.example>", to="kim@example.com", subject=subject, text="für 5 €"
    )
    with email.open_connection() as smtp:
        deliver(smtp, message)
    [transfer] = ascii_mail_server.transfers
    assert transfer.content.isascii() and max(map(len, transfer.content.split(b"\r\n"))) <= 78
    [mail] = ascii_mail_server.mails
    [sender] = mail["From"].addresses
    assert (sender.display_name, sender.addr_spec) == ("Bücher & Söhne, GmbH", "shop@xn--bcher-kva.example")
    assert transfer.sender == "shop@xn--bcher-kva.example"
    assert mail["Subject"].strip() == subject and mail.get_content().strip() == "für 5 €"
    assert mail["Message-ID"] == "<1@satsuma.example>" and mail["Date"].datetime


@pytest.mark.parametrize("part", ["to", "subject", "message_id"])
@pytest.mark.parametrize("separator", ["\r\n", "\n", "\r"])
def test_no_part_of_a_mail_adds_a_header_field(mail_server, part, separator):
    parts = {"message_id": "<1@satsuma.example>", "to": "kim@example.com", "subject": "Hello", "text": "there"}
    parts[part] += f"{separator}Bcc: eve@example.com{separator}{separator}hidden"
    with email.open_connection() as smtp, pytest.raises(email.Refused):
        deliver(smtp, email.OutgoingEmail(**parts))
    assert mail_server.mails == []


def test_a_subject_has_no_control_characters():
    subject, _ = email.render("order_confirmed", order={"number": "1\x00\x1b[2J\r\nBcc: eve@example.com"}, site="")
    assert subject.isprintable()


def test_a_sender_address_that_is_invalid_delays_mail_instead_of_failing_it(mail_server, settings):
    settings.DEFAULT_FROM_EMAIL = "Satsuma"
    mail = send_receipt("kim@example.com")
    assert (mail["status"], mail["reason"]) == ("waiting", "DEFAULT_FROM_EMAIL is not a valid address")
    assert django_settings.DEFAULT_FROM_EMAIL == "Satsuma"


def test_the_file_backend_writes_the_same_message(settings, tmp_path):
    settings.EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
    settings.EMAIL_FILE_PATH = str(tmp_path)
    assert send_receipt("jörg@bücher.example")["status"] == "sent"
    [file] = tmp_path.iterdir()
    assert "To: jörg@xn--bcher-kva.example\n" in file.read_text() and "Total: 19.98 EUR" in file.read_text()
