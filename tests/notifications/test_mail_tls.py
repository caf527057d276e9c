"""EMAIL_USE_TLS: no mail and no password goes to a server without TLS or without a valid certificate."""

import pytest
from aiosmtpd.smtp import AuthResult

from contexts.notifications.channels import email
from contexts.notifications.channels.email import OutgoingEmail, Unreachable
from tests.certificates import build_server_context, write_certificate
from tests.mail_server import FakeMailServer
from tests.notifications.messages import deliver

MAIL = OutgoingEmail(message_id="<1@shop.example>", to="ada@example.com", subject="Hello", text="Your order")


@pytest.fixture
def certificate(tmp_path):
    return write_certificate(tmp_path)


@pytest.fixture
def sign_ins():
    return []


@pytest.fixture
def tls_mail_server(settings, certificate, sign_ins):
    """Run a mail server that offers STARTTLS, and asks for a user and a password after it."""

    def record(server, session, envelope, mechanism, data):
        sign_ins.append(data.password)
        return AuthResult(success=True)

    server = FakeMailServer()
    options = {"tls_context": build_server_context(certificate), "authenticator": record, "auth_require_tls": True}
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT, settings.EMAIL_USE_TLS = "127.0.0.1", server.port, True
    settings.EMAIL_HOST_USER, settings.EMAIL_HOST_PASSWORD = "shop", "swordfish"
    settings.EMAIL_TIMEOUT = settings.EMAIL_GREETING_TIMEOUT = settings.EMAIL_COMMAND_TIMEOUT = 10
    server.start(**options)
    yield server
    server.stop()


def send() -> None:
    with email.open_connection() as connection:
        deliver(connection, MAIL)


def test_a_mail_is_sent_over_tls(tls_mail_server, sign_ins, certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    send()
    assert (len(tls_mail_server.mails), sign_ins) == (1, [b"swordfish"])


def test_a_mail_server_with_a_certificate_that_is_not_trusted_gets_nothing(tls_mail_server, sign_ins):
    with pytest.raises(Unreachable, match="CERTIFICATE_VERIFY_FAILED"):
        send()
    assert (tls_mail_server.mails, sign_ins) == ([], [])


def test_a_mail_server_without_tls_gets_nothing(mail_server, settings):
    settings.EMAIL_USE_TLS = True
    with pytest.raises(Unreachable, match="STARTTLS"):
        send()
    assert mail_server.mails == []
