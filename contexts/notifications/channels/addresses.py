"""E-mail addresses: international ones too (RFC 6531), with the domain as mail servers look it up (IDNA 2008, RFC 5891)."""

import re
import unicodedata
from email.headerregistry import Address
from email.utils import parseaddr

import idna

MAX_LOCAL_PART_OCTETS = 64  # RFC 5321, 4.5.3.1
MAX_ADDRESS_OCTETS = 254

# Printable characters without spaces and without those that separate or quote addresses in a header field.
_LOCAL_PART = re.compile(r'[^\s@<>(),;:"\\\[\]\x00-\x20\x7f-\x9f]+')
_ASCII_DOMAIN = re.compile(
    r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII
)


class InvalidAddress(ValueError):
    """The text is not one e-mail address."""


def parse_address(text: str, display_name: str = "") -> Address:
    """Parse an address without a display name. Its domain is returned in ASCII. Raises InvalidAddress."""
    local, at, domain = unicodedata.normalize("NFC", text).rpartition("@")
    if not at or not _LOCAL_PART.fullmatch(local) or _has_invisible_characters(text):
        raise InvalidAddress(text)
    encoded_domain = _encode_domain(domain)
    is_too_long = len(local.encode()) > MAX_LOCAL_PART_OCTETS
    if is_too_long or len(f"{local}@{encoded_domain}".encode()) > MAX_ADDRESS_OCTETS:
        raise InvalidAddress(text)
    return Address(display_name, username=local, domain=encoded_domain)


def parse_mailbox(text: str) -> Address:
    """Parse an address that may have a display name, such as `Satsuma <shop@example.com>`. Raises InvalidAddress."""
    display_name, address = parseaddr(text)
    return parse_address(address, " ".join(display_name.split()))


def is_international(address: Address) -> bool:
    """Return whether the address needs a mail server with SMTPUTF8. A domain alone never does."""
    return not address.addr_spec.isascii()


def _encode_domain(domain: str) -> str:
    lowered = domain.lower()
    if lowered.isascii():
        if not _ASCII_DOMAIN.fullmatch(lowered):
            raise InvalidAddress(domain)
        return lowered
    try:
        return idna.encode(domain, uts46=True, std3_rules=True).decode()
    except (idna.IDNAError, UnicodeError):
        raise InvalidAddress(domain) from None


def _has_invisible_characters(text: str) -> bool:
    return any(unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp") for character in text)
