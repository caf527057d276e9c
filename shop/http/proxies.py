"""Determine the client's address behind trusted proxies. No other module reads the X-Forwarded headers."""

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from django.conf import settings
from django.http import HttpRequest, HttpResponse

Address = IPv4Address | IPv6Address
MAX_PORT = 65_535
_ADDRESS_WITH_PORT = re.compile(
    r"(?:(?P<ipv4>[0-9.]+)(?=:)|\[(?P<ipv6>[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*)\])(?::(?P<port>[0-9]{1,5}))?"
)


class TrustedProxies:
    """Set REMOTE_ADDR to the client's address, and drop forwarded headers that no proxy of `TRUSTED_PROXIES` has set.

    Each proxy appends the address of its peer to X-Forwarded-For. Read from the right, everything beyond the first
    address that is not a trusted proxy may be forged by the client. X-Forwarded-Proto is kept only from a trusted proxy.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        forwarded_for = request.META.pop("HTTP_X_FORWARDED_FOR", "")
        peer = request.META.get("REMOTE_ADDR", "")
        if is_trusted(peer):
            request.META["REMOTE_ADDR"] = find_client_address(peer, forwarded_for.split(","))
        else:
            request.META.pop("HTTP_X_FORWARDED_PROTO", None)
        return self.get_response(request)


def get_client_network(request: HttpRequest) -> str:
    """Return the client's IPv4 address, or its IPv6 network of /64, which belongs to one customer."""
    return find_network(request.META.get("REMOTE_ADDR", ""))


def find_network(address: str) -> str:
    """Return an IPv4 address as it is, and an IPv6 address as its /64 network. Other text stays as it is."""
    parsed = _parse_address(address)
    return str(ip_network((parsed, 64), strict=False)) if isinstance(parsed, IPv6Address) else str(parsed or address)


def find_client_address(peer: str, forwarded_for: Iterable[str]) -> str:
    """Return the nearest address that is not a trusted proxy.

    If an entry is not an IP address, return the address of the proxy that added it.
    """
    for name in reversed([*forwarded_for]):
        if not is_trusted(peer) or (address := _parse_entry(name.strip())) is None:
            break
        peer = str(address)
    return peer


def is_trusted(name: str) -> bool:
    """Return whether an address is that of a proxy of `TRUSTED_PROXIES`."""
    address = _parse_address(name)
    return address is not None and any(address in network for network in settings.TRUSTED_PROXIES)


def _parse_entry(entry: str) -> Address | None:
    """Parse an entry of X-Forwarded-For: an address, or one with a port, as some load balancers write it."""
    found = _ADDRESS_WITH_PORT.fullmatch(entry)
    if not found:
        return _parse_address(entry)
    return _parse_address(found["ipv4"] or found["ipv6"]) if int(found["port"] or 0) <= MAX_PORT else None


@lru_cache(maxsize=1000)
def _parse_address(name: str) -> Address | None:
    try:
        address = ip_address(name)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
