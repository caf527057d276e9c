"""An e-mail to an address that may be international, as every backend of Django's mail sends it (RFC 5322, RFC 6532)."""

import re
from email import policy, quoprimime
from email.charset import QP, Charset
from email.headerregistry import Address
from email.message import EmailMessage, Message
from email.utils import formatdate
from functools import lru_cache

from django.conf import settings
from django.core import mail

from shop import clock
from shop.addresses.email import is_international, parse_address

# Quoted-printable: a mail server that does not offer 8BITMIME accepts ASCII only (RFC 6152).
_QUOTED_PRINTABLE_UTF8 = Charset("utf-8")
_QUOTED_PRINTABLE_UTF8.body_encoding = QP

_MAX_FIELD_LENGTH = 76  # characters of a header field that nothing folds
_MAX_LINE_LENGTH = 900  # characters of a line of text that nothing encodes
_WORDS = re.compile(r"[!-~]+(?: [!-~]+)*")  # ASCII that needs no encoding in a header field
_LINE_END = re.compile(r"\r\n|\r|\n")
_FOLDING = policy.compat32.clone(linesep="\r\n")


class InternationalEmail(mail.EmailMessage):
    """An e-mail to one recipient.

    The content is ASCII, with everything else encoded, unless the sender or the recipient has an international address: then
    it is UTF-8, which only a mail server that supports SMTPUTF8 accepts. Raises InvalidAddress, and ValueError for a line break
    in a header field.
    """

    def __init__(self, *, sender: Address, to: str, subject: str, text: str, message_id: str) -> None:
        self.sender, self.recipient, self.text = sender, parse_address(to), text
        self.is_utf8 = is_international(sender) or is_international(self.recipient)
        super().__init__(subject, text, str(sender), [self.recipient.addr_spec], headers={"Message-ID": message_id})
        self.encoding = None if text.isascii() else _QUOTED_PRINTABLE_UTF8
        self.content = self._build_content()  # as SMTP transfers it

    def message(self) -> Message:  # type: ignore[override]  # Django declares its own class
        """Build the message as Django's backends for trials write it."""
        return self._build_utf8_message() if self.is_utf8 else super().message()

    def _build_utf8_message(self) -> EmailMessage:
        built = EmailMessage(policy=policy.default.clone(utf8=True))
        built["Subject"], built["From"], built["To"] = self.subject, self.sender, self.recipient
        built["Date"] = clock.now()
        for name, value in self.extra_headers.items():
            built[name] = value
        built.set_content(self.text)
        return built

    @property
    def smtp_options(self) -> list[str]:
        """Return the parameters of MAIL that the message needs."""
        return ["SMTPUTF8", "BODY=8BITMIME"] if self.is_utf8 else []

    def _build_content(self) -> bytes:
        if self.is_utf8:
            return self._build_utf8_message().as_bytes(policy=policy.SMTPUTF8)
        if self._is_simple():
            return self._join_fields_and_text()
        built = super().message()
        content: bytes = built.as_bytes(linesep="\r\n")  # type: ignore[call-arg]  # a method of Django's class
        return content

    def _is_simple(self) -> bool:
        """Return whether the subject and the lines of the text need no care. Receipts are, and Django takes long for them."""
        is_short = len(self.subject) + len("Subject: ") <= _MAX_FIELD_LENGTH
        fields = (self.subject, *self.extra_headers.values())
        longest_line = max(map(len, _LINE_END.split(self.text)))
        return is_short and all(map(_WORDS.fullmatch, fields)) and longest_line <= _MAX_LINE_LENGTH

    def _join_fields_and_text(self) -> bytes:
        """Return the bytes that Django would build."""
        if self.text.isascii():
            encoding, text = "7bit", self.text
        else:
            encoding, text = "quoted-printable", quoprimime.body_encode(self.text.encode().decode("latin-1"))
        head = f"""\
Content-Type: text/plain; charset="utf-8"
MIME-Version: 1.0
Content-Transfer-Encoding: {encoding}
Subject: {self.subject}
"""
        return b"".join([
            head.replace("\n", "\r\n").encode(),
            _encode_sender(str(self.sender)),
            _encode_field("To", self.to[0]),
            _encode_field("Date", formatdate(localtime=settings.EMAIL_USE_LOCALTIME)),
            *(_encode_field(name, value) for name, value in self.extra_headers.items()),
            b"\r\n",
            _LINE_END.sub("\r\n", text).encode(),
        ])  # fmt: skip


def _encode_field(name: str, value: str) -> bytes:
    if len(name) + len(": ") + len(value) <= _MAX_FIELD_LENGTH:
        return f"{name}: {value}\r\n".encode()
    return _FOLDING.fold_binary(name, value)


@lru_cache(maxsize=10)
def _encode_sender(sender: str) -> bytes:
    """Return the From field as Django encodes it, which is the same in all messages."""
    built = mail.EmailMessage(from_email=sender).message()
    found = re.search(rb"^From: .*\r\n(?:[ \t].*\r\n)*", built.as_bytes(linesep="\r\n"), re.MULTILINE)  # type: ignore[call-arg]
    return found.group() if found else b""
