"""The gateway of a shop in several processes: one origin, whose paths go to whoever hosts them.

The routes are read off the URL patterns, so that a new endpoint needs no second entry.
"""

import re
from collections import defaultdict
from collections.abc import Iterator

from django.conf import settings
from django.urls import URLPattern

from config.urls import api

FRONT = "orders"  # answers what is nobody's in particular: documentation, the admin's front page, static files

SERVER = """\
# Written by `manage.py gateway`; what is changed here is lost when it runs again.
{upstreams}
map $http_x_forwarded_proto $said_scheme {{ default $scheme; https https; }}  # of whoever ends TLS in front of this
server {{
    listen {listen};
    client_max_body_size 1m;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header Host $http_host;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    proxy_set_header X-Forwarded-Proto $said_scheme;
    proxy_next_upstream off;  # whether it happened is for the client to ask, with the same Idempotency-Key
{locations}
}}
"""
UPSTREAM = "upstream {context} {{ server {address}; keepalive 16; }}"
LOCATION = "    location {which} {{ proxy_pass http://{context}; }}"


def routes() -> dict[str, list[str]]:
    """For each context, regular expressions of the paths that are its own."""
    found = {}
    for context in settings.ALL_CONTEXTS:
        words: dict[str, set[str]] = defaultdict(set)
        for address in _addresses(context):
            head, _, rest = address.removeprefix("api/v1/").partition("/")
            words[head].add(rest.partition("/")[0])
        own = [f"^/api/v1/{_own(head, words[head])}(/|$)" for head in sorted(words) if not head.startswith(".")]
        fixed = [f"^/{re.escape(address)}$" for address in _addresses(context) if address.startswith(".")]
        found[context] = [*own, *fixed, f"^/admin/{context}/"]
    return found


def _addresses(context: str) -> Iterator[str]:
    """The fixed beginnings of a context's paths."""
    for entry in api((context,)):
        if isinstance(entry, URLPattern):
            yield str(entry.pattern)
        else:
            yield from (f"{entry.pattern}{str(one.pattern).partition('<')[0]}" for one in entry.url_patterns)


def _own(head: str, seconds: set[str]) -> str:
    """`staff` is everybody's, so that its second word tells them apart."""
    return f"{head}/({'|'.join(sorted(seconds))})" if head == "staff" else head


def nginx(upstreams: dict[str, str], listen: str) -> str:
    """The configuration for nginx. `upstreams` says at which host:port each context's public server is."""
    places = [(context, f"~ {pattern}") for context, patterns in routes().items() for pattern in patterns]
    return SERVER.format(
        listen=listen,
        upstreams="\n".join(UPSTREAM.format(context=context, address=upstreams[context]) for context in settings.ALL_CONTEXTS),
        locations="\n".join(LOCATION.format(context=context, which=which) for context, which in [*places, (FRONT, "/")]),
    )
