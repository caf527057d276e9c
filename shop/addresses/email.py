"""E-mail addresses: international ones too (RFC 6531), with the domain as mail servers look it up (IDNA 2008, RFC 5891)."""

import re
import unicodedata
from email.headerregistry import Address
from email.utils import parseaddr

import idna

from shop import sizes
from shop.text import has_blank_letters

MAX_LOCAL_PART_OCTETS = 64  # RFC 5321, 4.5.3.1
MAX_ADDRESS_OCTETS = sizes.EMAIL_LENGTH

# Printable characters without spaces and without those that separate or quote addresses in a header field, and no dot at an
# end or beside another dot (dot-atom of RFC 5322).
_ATOM = r'[^\s@.<>(),;:"\\\[\]\x00-\x20\x7f-\x9f]+'
_LOCAL_PART = re.compile(rf"{_ATOM}(?:\.{_ATOM})*")
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


def parse_customer_address(text: str) -> Address:
    """Parse an address that a customer gives: its domain is a public one. Raises InvalidAddress."""
    address = parse_address(text)
    name, _, top_level_domain = address.domain.rpartition(".")
    if not name or top_level_domain.isdigit():
        raise InvalidAddress(text)
    return address


def clean_customer_address(text: str) -> str:
    """Return the canonical spelling of an address that a customer gives, for an account or an order. Raises InvalidAddress.

    The canonical form is validated, because NFKC can add an @, a space or many more characters.
    """
    canonical = normalize_address(text)
    parse_customer_address(canonical)
    return canonical


def fold_address(text: str) -> str:
    """Return an address as it was entered, but stripped, in lower case and NFKC."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).strip().lower())


def normalize_address(text: str) -> str:
    """Return one spelling for all that name the same address: stripped, in lower case, NFKC, and the domain in Unicode.

    `JÖRG@xn--mnchen-3ya.example` is `jörg@münchen.example`. A text that is no address is returned without that last step.
    """
    spelled = fold_address(text)
    local, at, domain = spelled.rpartition("@")
    if domain.isascii() and "xn--" not in domain:
        return spelled
    try:
        return f"{local}{at}{idna.decode(_encode_domain(domain))}"
    except (InvalidAddress, UnicodeError):  # includes idna's errors
        return spelled


def parse_mailbox(text: str) -> Address:
    """Parse an address that may have a display name, such as `Satsuma <shop@example.com>`. Raises InvalidAddress."""
    display_name, address = parseaddr(text)
    return parse_address(address, " ".join(display_name.split()))


def is_international(address: Address) -> bool:
    """Return whether the address needs a mail server with SMTPUTF8. A domain alone never does."""
    return not address.addr_spec.isascii()


def _encode_domain(domain: str) -> str:
    if _has_invisible_characters(domain):  # idna would drop some of them
        raise InvalidAddress(domain)
    lowered = domain.lower()
    if lowered.isascii():
        if not _ASCII_DOMAIN.fullmatch(lowered):
            raise InvalidAddress(domain)
        return lowered
    try:
        encoded = idna.encode(domain, uts46=True, std3_rules=True).decode()
    except (idna.IDNAError, UnicodeError):
        raise InvalidAddress(domain) from None
    if not _ASCII_DOMAIN.fullmatch(encoded):  # it ends with a dot
        raise InvalidAddress(domain)
    return encoded


def _has_invisible_characters(text: str) -> bool:
    if text.isascii():
        return not text.isprintable()
    categories = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
    return has_blank_letters(text) or any(unicodedata.category(character) in categories for character in text)
