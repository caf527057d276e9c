"""Who really asks, where a proxy stands before us: the one place that believes a header about it."""

from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address

from django.conf import settings
from django.http import HttpRequest, HttpResponse

Address = IPv4Address | IPv6Address


class TrustedProxies:
    """Makes REMOTE_ADDR the client's address, and forgets what was not said by a proxy of `TRUSTED_PROXIES`.

    A proxy appends the address that it heard from to X-Forwarded-For; everything left of the first address that is not
    a trusted proxy's was written by the client. X-Forwarded-Proto is the proxy's own, or nobody's.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        said = request.META.pop("HTTP_X_FORWARDED_FOR", "")
        peer = request.META.get("REMOTE_ADDR", "")
        if _is_trusted(peer):
            request.META["REMOTE_ADDR"] = client(peer, said.split(","))
        else:
            request.META.pop("HTTP_X_FORWARDED_PROTO", None)
        return self.get_response(request)


def client(peer: str, said: Iterable[str]) -> str:
    """The nearest address that is not a trusted proxy's. What cannot be read ends the search at who handed it over."""
    for name in reversed([*said]):
        if not _is_trusted(peer) or (address := _address(name.strip())) is None:
            break
        peer = str(address)
    return peer


def _is_trusted(name: str) -> bool:
    address = _address(name)
    return address is not None and any(address in network for network in settings.TRUSTED_PROXIES)


def _address(name: str) -> Address | None:
    try:
        address = ip_address(name)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
