"""Readers of settings that are hosts, ports, URLs, networks, origins or names. Each raises ValueError for anything else.

They are passed to `read_setting` of shop/settings.py. Messages about a URL that may contain a password do not show it.
"""

import json
import re
from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_network
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from shop.credentials import Credentials
from shop.money import is_currency
from shop.settings import env, read_whole_number

MAX_PORT = 65_535
MAX_HOST_LENGTH = 253
DEFAULT_PORTS = {"http": 80, "https": 443}
ORIGIN_RULES = "scheme, host in lower case, and a port unless it is the default; no path, no wildcard"

_LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*\.?")
_DATABASE_PREFIX = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,39}")
_DOTTED_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
_CONTACT = re.compile(r"mailto:[^@\s,]+@[^@\s,]+|tel:[+0-9()-]{3,}|https://[^\s/,]+\S*")


def is_host(text: str) -> bool:
    """Return whether a text is a host name, an IPv4 address, or an IPv6 address without brackets."""
    if ":" in text:
        try:
            IPv6Address(text)
        except ValueError:
            return False
        return True
    return len(text) <= MAX_HOST_LENGTH and bool(_HOST_NAME.fullmatch(text))


def parse_url(text: str, schemes: tuple[str, ...]) -> SplitResult:
    """Parse a URL with one of these schemes, a host and a valid port. Raises ValueError, which does not show the URL."""
    kinds = " or ".join(f"{scheme}://" for scheme in schemes)
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError("must be a URL with a valid host and a port from 1 to 65535") from None
    if parts.scheme not in schemes or not host:
        raise ValueError(f"must be {'an' if kinds.startswith('http') else 'a'} {kinds} URL with a host")
    if not is_host(host) or port == 0:
        raise ValueError("must be a URL with a valid host and a port from 1 to 65535")
    return parts


def read_site_url(name: str, default: str) -> str:
    """Return the public address of the site, with its scheme and host in lower case and without a slash at the end."""
    value = str(env.str(name, default=default))
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{value!r} must be an http:// or https:// URL")
    if parts.query or parts.fragment or parts.username is not None:
        raise ValueError(f"{value!r} must have no user name, query or fragment")
    parse_url(value, ("http", "https"))
    return parts._replace(netloc=parts.netloc.lower()).geturl().rstrip("/")


def read_folders(name: str, default: list[str]) -> list[str]:
    """Return the paths of folders that exist, which are separated by commas."""
    folders: list[str] = env.list(name, default=default)
    for folder in folders:
        if not Path(folder).is_dir():
            raise ValueError(f"{folder!r} is not a folder")
    return folders


def read_internal_url(name: str, default: str) -> str:
    """Return the address of another process, as in http://orders:8001, or what the name of a class in this one is."""
    value = str(env.str(name, default=default)) or default
    if "://" not in value:
        return value
    parts = parse_url(value, ("http", "https"))
    if parts.path.strip("/") or parts.query or parts.fragment or parts.username is not None:
        raise ValueError("must have no path, user name, query or fragment, as in http://host:8001")
    return value.rstrip("/")


def _build_server_reader(schemes: tuple[str, ...]) -> Callable[[str, str], str]:
    """Build the reader of the address of a server that may be empty. It may contain a password."""

    def read(name: str, default: str) -> str:
        value = str(env.str(name, default=default))
        for url in value.split(";") if value else ():  # several servers of which one is used
            parse_url(url, schemes)
        return value

    return read


read_redis_url = _build_server_reader(("redis", "rediss"))
read_broker_url = _build_server_reader(("redis", "rediss", "amqp", "amqps"))


def read_host(name: str, default: str) -> str:
    """Return the name or address of a server, without a scheme or a port."""
    value = str(env.str(name, default=default))
    if not is_host(value):
        raise ValueError(f"{value!r} is not a host, such as mail.example or 10.0.0.7, without a scheme and a port")
    return value


def read_port(name: str, default: int) -> int:
    """Return a TCP port. Unlike the others, this calls `read_setting` itself, because it is a number with limits."""
    return read_whole_number(name, default, most=MAX_PORT)


def read_allowed_hosts(name: str, default: list[str]) -> list[str]:
    """Parse the host names that requests may name: shop.example, .shop.example with its subdomains, [::1], or *."""
    hosts: list[str] = env.list(name, default=default)
    if not hosts:
        raise ValueError("it is empty, so that every request would be refused")
    for host in hosts:
        bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host.removeprefix(".")
        if host != "*" and (not is_host(bare) or (":" in bare) != host.startswith("[")):
            raise ValueError(f"{host!r} is not a host, such as shop.example, without a scheme and a port")
    return hosts


def read_networks(name: str, default: list[str]) -> tuple[IPv4Network | IPv6Network, ...]:
    """Parse comma-separated addresses and networks (10.0.0.0/8). A network of all addresses is refused."""
    networks = tuple(ip_network(address) for address in env.list(name, default=default))
    if any(network.prefixlen == 0 for network in networks):
        raise ValueError("a network of all addresses cannot be trusted")
    return networks


def read_origins(name: str, default: list[str]) -> list[str]:
    """Parse comma-separated web origins (RFC 6454) as browsers send them: https://shop.example, http://localhost:3000."""
    origins: list[str] = env.list(name, default=default)
    for origin in origins:
        if origin != build_origin(origin):
            raise ValueError(
                f"{origin!r} is not an exact origin such as https://shop.example or http://localhost:3000: {ORIGIN_RULES}"
            )
    return origins


def build_origin(url: str) -> str:
    """Return the origin of a URL, or an empty string if it has none. Raises ValueError for an invalid port."""
    parts = urlsplit(url)
    if parts.scheme not in DEFAULT_PORTS or not is_host(parts.hostname or ""):
        return ""
    host = f"[{parts.hostname}]" if ":" in str(parts.hostname) else parts.hostname
    return f"{parts.scheme}://{host}" + (
        f":{parts.port}" if parts.port not in (None, DEFAULT_PORTS[parts.scheme]) else ""
    )


def read_currency(name: str, default: str) -> str:
    """Return a currency code of ISO 4217, in upper case."""
    value = str(env.str(name, default=default))
    if not is_currency(value):
        raise ValueError(f"{value!r} is not a currency code of ISO 4217, such as EUR or JPY")
    return value


def read_text(name: str, default: str) -> str:
    """Return a text that is not empty."""
    value = str(env.str(name, default=default))
    if not value:
        raise ValueError("it is empty")
    return value


def read_secrets(name: str, default: list[str]) -> list[str]:
    """Return secrets that are separated by commas or line breaks, or in a JSON array. Messages do not show them."""
    text = str(env.str(name, default=""))
    found = json.loads(text) if text.startswith("[") else re.split(r"[,\s]+", text) if text else default
    if not all(isinstance(secret, str) and secret for secret in found):
        raise ValueError("must be secrets separated by commas, or a JSON array of them; one is empty")
    return list(found)


def read_credentials(name: str, default: Credentials) -> Credentials:
    """Read the value of `<CONTEXT>_SECRETS`. Messages do not show it."""
    text = str(env.str(name, default=""))
    if not text:
        return default
    try:
        given = json.loads(text)
        is_valid = all(
            isinstance(found, list) and found and all(map(_is_credential, found)) for found in given.values()
        )
    except (ValueError, AttributeError):
        is_valid = False
    if not is_valid:
        raise ValueError("is not what `python -m ops.launch.keys` writes")
    return dict(given)


def _is_credential(value: object) -> bool:
    return isinstance(value, str) and len(value) == 64


def read_contacts(name: str, default: list[str]) -> list[str]:
    """Parse contacts of security.txt (RFC 9116, 2.5.3): mailto:, tel: and https:// addresses, separated by commas."""
    contacts: list[str] = env.list(name, default=default)
    for contact in contacts:
        if not _CONTACT.fullmatch(contact):
            raise ValueError(
                f"{contact!r} is not an address such as mailto:security@shop.example or https://shop.example/security"
            )
    return contacts


def read_names(name: str, default: list[str]) -> list[str]:
    """Parse names that are separated by commas: at least one, and each once."""
    names: list[str] = env.list(name, default=default)
    if not names or len(set(names)) < len(names):
        raise ValueError(f"{','.join(names)!r} is empty or has a name twice")
    return names


def read_database_prefix(name: str, default: str) -> str:
    """Return the beginning of the names of databases and roles, which PostgreSQL limits to 63 bytes."""
    value = str(env.str(name, default=default))
    if not _DATABASE_PREFIX.fullmatch(value):
        raise ValueError(f"{value!r} is not a name of up to 40 letters, digits, underscores and hyphens")
    return value


def read_dotted_name(name: str, default: str) -> str:
    """Return the dotted name of a class."""
    value = str(env.str(name, default=default))
    if not _DOTTED_NAME.fullmatch(value):
        raise ValueError(f"{value!r} is not the dotted name of a class")
    return value
