"""Write the process configuration to use after a context has moved to its own process.

Any number of processes can host a context, independent of where its database is. So the hosting processes can be changed
by restarting them one after the other, before or after the data moves.
"""

import json
import os
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, urlencode

from django.conf import settings

from ops.deploy import gateway, manifests
from ops.launch import keys
from ops.peel.database import Database
from ops.peel.directory import ServerSettings
from shop.db.postgres.locations import DatabaseLocation


class Address(NamedTuple):
    """The address of a process tree: `port` is for customers, the next port for other processes."""

    host: str
    port: int

    @classmethod
    def of(cls, text: str) -> "Address":
        """Parse `host:port`. Raises ValueError."""
        host, _, port = text.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65535:
            raise ValueError(f"{text!r} is not valid: use <host>:<port>")
        return cls(host, int(port))

    @property
    def public_address(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def internal_url(self) -> str:
        return f"http://{self.host}:{self.port + 1}"


def build_database_url(location: DatabaseLocation, password: str, server: ServerSettings) -> str:
    """Build the URL of a database for processes of its context; `server` has further connection options.

    They do not include the administrator's password file.
    """
    options = {name: str(value) for name, value in server.get("OPTIONS", {}).items() if name != "passfile"}
    if location.host.startswith("/"):  # a socket
        options, address = {"host": location.host, **options}, ""
    else:
        address = f"{location.host}:{location.port or 5432}"
    query = f"?{urlencode(options, quote_via=quote)}" if options else ""
    return f"postgres://{location.user}:{quote(password, safe='')}@{address}/{location.dbname}{query}"


# Where containers read their secrets, by the volume that they mount.
SECRET_FILES = {
    "keys": {},
    "shared": {
        "SECRET_KEY_FILE": "/var/lib/satsuma/shared/SECRET_KEY",
        "CREDENTIAL_KEY_FILE": "",
        "JWT_SIGNING_KEY_FILE": "",
    },
}

COMPOSE_TEMPLATE = """\
# docker compose -f docker-compose.yml -f {folder}/compose.yaml up -d
services:
  shop:
    ports: !reset []  # the gateway publishes them
    volumes: !override ["{others_secrets}"]
    environment: {others}
  {context}:
    extends: {{file: {root}/docker-compose.yml, service: shop}}
    ports: !reset []
    volumes: !override ["{own_secrets}"]
    environment: {own}
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


def render_files(
    folder: Path, target: Database, context: str, context_address: Address, shop: Address
) -> dict[str, str]:
    """Render the files by name. `context_address` and `shop` are the addresses of the context's process and of the others."""
    database = {
        f"{context.upper()}_DATABASE_URL": build_database_url(
            target.location, settings.DATABASES[context]["PASSWORD"], target.server
        )
    }
    own, others = _build_environments(context, context_address, shop)
    files = {
        f"{context}.env": keys.format_settings(own | _build_port_settings(context_address) | database),
        "shop.env": keys.format_settings(others | _build_port_settings(shop)),
        "gateway.conf": _render_gateway(context, context_address.public_address, shop.public_address, "80"),
        "compose.gateway.conf": _render_gateway(
            context, f"{context}:8000", "shop:8000", "8080", resolver=gateway.COMPOSE_RESOLVER
        ),
        "compose.yaml": _render_compose(folder, context, database),
    }
    hosts = {"shop": tuple(others["CONTEXTS"].split(",")), context: (context,)}
    return files | {f"kubernetes/{name}": text for name, text in manifests.render_files(hosts).items()}


def _render_compose(folder: Path, context: str, database: dict[str, str]) -> str:
    internal = {"INTERNAL_PORT": "8001", "INTERNAL_HOST": "0.0.0.0"}  # noqa: S104 - inside a container, not published
    own, others = _build_environments(context, Address(context, 8000), Address("shop", 8000))
    own_volume, others_volume = ("keys", "shared") if context == "users" else ("shared", "keys")
    return COMPOSE_TEMPLATE.format(
        folder=folder,
        root=settings.BASE_DIR,
        context=context,
        own=json.dumps(own | internal | database | SECRET_FILES[own_volume]),
        others=json.dumps(others | internal | SECRET_FILES[others_volume]),
        own_secrets=f"{own_volume}:/var/lib/satsuma/{own_volume}:ro",
        others_secrets=f"{others_volume}:/var/lib/satsuma/{others_volume}:ro",
    )


def _build_environments(context: str, context_address: Address, shop: Address) -> tuple[dict[str, str], dict[str, str]]:
    """Build the settings of the context's process, and those of the others.

    The side that does not host users gets neither the key that signs tokens nor, if CREDENTIAL_KEY is set, that key.
    """
    others = [other for other in settings.ALL_CONTEXTS if other != context]
    own_keys, other_keys = ({}, _select_keys(others)) if context == "users" else (_select_keys([context]), {})
    return (
        {"CONTEXTS": context} | {f"{other.upper()}_URL": shop.internal_url for other in others} | own_keys,
        {"CONTEXTS": ",".join(others), f"{context.upper()}_URL": context_address.internal_url} | other_keys,
    )


def _select_keys(contexts: list[str]) -> dict[str, str]:
    """Return the keys of a process that hosts these contexts, which are not all, and not users."""
    public_keys = {"JWT_SIGNING_KEY": "", "JWT_PUBLIC_KEYS": json.dumps(settings.JWKS["keys"])}
    if not settings.CREDENTIAL_KEY:
        return public_keys
    credential_keys = [settings.CREDENTIAL_KEY, *settings.CREDENTIAL_KEY_FALLBACKS]
    credentials = {
        f"{context.upper()}_SECRETS": keys.format_context_secrets(credential_keys, context) for context in contexts
    }
    return public_keys | {"CREDENTIAL_KEY": "", "CREDENTIAL_KEY_FALLBACKS": ""} | credentials


def _build_port_settings(address: Address) -> dict[str, str]:
    return {"PORT": str(address.port), "INTERNAL_PORT": str(address.port + 1), "INTERNAL_HOST": address.host}


def _render_gateway(context: str, context_address: str, shop: str, listen: str, *, resolver: str = "") -> str:
    upstreams = {other: context_address if other == context else shop for other in settings.ALL_CONTEXTS}
    return gateway.render_nginx(upstreams, listen, resolver=resolver, trusted_proxies=gateway.PRIVATE_NETWORKS)


def create_folder(folder: Path) -> Path:
    """Create the folder of the files, before anything is moved, and return its absolute path. Raises ValueError."""
    folder = folder.resolve()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"--write: {error}") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ValueError(f"--write: {folder} cannot be written to")
    return folder


def write_files(folder: Path, content: dict[str, str]) -> None:
    """Write the files so that only their owner can read them, since they contain passwords."""
    for name, text in content.items():
        file = folder / name
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        keys.write_private_file(file, text)
