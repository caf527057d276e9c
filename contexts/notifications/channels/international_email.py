"""An e-mail to an address that may be international, as every backend of Django's mail sends it (RFC 5322, RFC 6532)."""

from email import policy
from email.charset import QP, Charset
from email.headerregistry import Address
from email.message import EmailMessage, Message

from django.core import mail

from shop import clock
from shop.addresses.email import is_international, parse_address

# Quoted-printable: a mail server that does not offer 8BITMIME accepts ASCII only (RFC 6152).
_QUOTED_PRINTABLE_UTF8 = Charset("utf-8")
_QUOTED_PRINTABLE_UTF8.body_encoding = QP


class InternationalEmail(mail.EmailMessage):
    """An e-mail to one recipient.

    The content is ASCII, with everything else encoded, unless the sender or the recipient has an international address: then
    it is UTF-8, which only a mail server that supports SMTPUTF8 accepts. Raises InvalidAddress.
    """

    def __init__(self, *, sender: Address, to: str, subject: str, text: str, message_id: str) -> None:
        self.sender, self.recipient = sender, parse_address(to)
        self.is_utf8 = is_international(sender) or is_international(self.recipient)
        super().__init__(subject, text, str(sender), [self.recipient.addr_spec], headers={"Message-ID": message_id})
        self.encoding = None if text.isascii() else _QUOTED_PRINTABLE_UTF8

    def message(self) -> Message:  # type: ignore[override]  # Django declares its own class
        """Build the message. Raises ValueError for a line break in a header field."""
        return self._build_utf8_message() if self.is_utf8 else super().message()

    def _build_utf8_message(self) -> EmailMessage:
        built = EmailMessage(policy=policy.default.clone(utf8=True))
        built["Subject"], built["From"], built["To"] = self.subject, self.sender, self.recipient
        built["Date"] = clock.now()
        for name, value in self.extra_headers.items():
            built[name] = value
        built.set_content(self.body)
        return built

    def to_bytes(self) -> bytes:
        """Return the message as SMTP transfers it."""
        if self.is_utf8:
            return self._build_utf8_message().as_bytes(policy=policy.SMTPUTF8)
        content: bytes = super().message().as_bytes(linesep="\r\n")  # type: ignore[call-arg]  # a method of Django's class
        return content
