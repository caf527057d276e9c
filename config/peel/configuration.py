"""What the processes are configured with once a context has a process of its own: written out, for whoever starts them.

Any number of processes may host a context, on whichever database it is: so who hosts what changes by restarting one
process after the other, before or after the data has moved.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

from django.conf import settings

from config import gateway, keys, manifests
from config.peel.database import Database
from shop.postgres.moves import Place


class Address(NamedTuple):
    """Where a process tree answers: customers at `port`, other processes at the next one."""

    host: str
    port: int

    @classmethod
    def of(cls, text: str) -> "Address":
        """From `host:port`. Raises ValueError."""
        host, _, port = text.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65535:
            raise ValueError(f"{text!r} is no <host>:<port>")
        return cls(host, int(port))

    @property
    def public(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def internal(self) -> str:
        return f"http://{self.host}:{self.port + 1}"


def url(place: Place, password: str, server: dict[str, Any]) -> str:
    """A database's address, as a process of the context has it; `server`: what else a connection to it needs."""
    options = {name: str(value) for name, value in server.get("OPTIONS", {}).items()}
    if place.host.startswith("/"):  # a socket
        options, where = {"host": place.host, **options}, ""
    else:
        where = f"{place.host}:{place.port or 5432}"
    query = f"?{urlencode(options)}" if options else ""
    return f"postgres://{place.user}:{quote(password, safe='')}@{where}/{place.dbname}{query}"


COMPOSE = """\
# docker compose -f docker-compose.yml -f {folder}/compose.yaml up -d
services:
  shop:
    ports: !reset []  # the gateway has them
    environment: {theirs}
  {context}:
    extends: {{file: {root}/docker-compose.yml, service: shop}}
    ports: !reset []
    environment: {mine}
  gateway:
    extends: {{file: {root}/docker-compose.split.yml, service: gateway}}
    volumes: !override ["{folder}/compose.gateway.conf:/etc/nginx/conf.d/default.conf:ro"]
    depends_on: !override
      shop: {{condition: service_healthy}}
      {context}: {{condition: service_healthy}}
networks:
  default:
    ipam:
      config: [{{subnet: 172.30.79.0/24}}]
"""


def files(folder: Path, new: Database, context: str, peeled: Address, shop: Address) -> dict[str, str]:
    """By name. `peeled`, `shop`: where the context's process and the others' are to answer."""
    database = {f"{context.upper()}_DATABASE_URL": url(new.place, settings.DATABASES[context]["PASSWORD"], new.server)}
    mine, theirs = _environments(context, peeled, shop)
    found = {
        f"{context}.env": keys.settings(mine | _process(peeled) | database),
        "shop.env": keys.settings(theirs | _process(shop)),
        "gateway.conf": _gateway(context, peeled.public, shop.public, "80"),
        "compose.gateway.conf": _gateway(context, f"{context}:8000", "shop:8000", "8080"),
    }
    anywhere = {"INTERNAL_PORT": "8001", "INTERNAL_HOST": "0.0.0.0"}  # noqa: S104 - of a container, published to nobody
    mine, theirs = _environments(context, Address(context, 8000), Address("shop", 8000))
    found["compose.yaml"] = COMPOSE.format(
        folder=folder, root=settings.BASE_DIR, context=context, mine=json.dumps(mine | anywhere | database),
        theirs=json.dumps(theirs | anywhere),
    )  # fmt: skip
    kubernetes = manifests.files({"shop": tuple(theirs["CONTEXTS"].split(",")), context: (context,)})
    return found | {f"kubernetes/{name}": text for name, text in kubernetes.items()}


def _environments(context: str, peeled: Address, shop: Address) -> tuple[dict[str, str], dict[str, str]]:
    """What the context's process has to know, and what the others do."""
    others = [other for other in settings.ALL_CONTEXTS if other != context]
    return (
        {"CONTEXTS": context} | {f"{other.upper()}_URL": shop.internal for other in others},
        {"CONTEXTS": ",".join(others), f"{context.upper()}_URL": peeled.internal},
    )


def _process(at: Address) -> dict[str, str]:
    return {"PORT": str(at.port), "INTERNAL_PORT": str(at.port + 1), "INTERNAL_HOST": at.host}


def _gateway(context: str, peeled: str, shop: str, listen: str) -> str:
    return gateway.nginx({one: peeled if one == context else shop for one in settings.ALL_CONTEXTS}, listen)


def write(folder: Path, content: dict[str, str]) -> None:
    """Readable by nobody else: there are passwords in it."""
    for name, text in content.items():
        file = folder / name
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        keys.write(file, text)
