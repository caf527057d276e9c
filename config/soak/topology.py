"""The processes of a soak's shop, and whom a buyer asks for what: one shop, or five with a context each."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from config import gateway, valkey
from config.soak import workers
from config.soak.plan import Part
from config.soak.supervisor import Process, engine, free_port, server

HOST = "127.0.0.1"
SERVERS = {"web": ("config.wsgi", 200), "internal": ("config.internal", 404)}  # the application, and what it says of its health


class Running(NamedTuple):
    """A part, and the process that it is."""

    part: Part
    process: Process


def build(parts: Iterable[Part], environment: dict[str, str], folder: Path) -> list[Running]:
    """The shop's processes, none of them started yet, each with a port that it keeps."""
    ports = {part: free_port() for part in parts if part.kind in (*SERVERS, "broker")}
    internal = {f"{part.context.upper()}_URL": _site(port) for part, port in ports.items() if part.kind == "internal"}
    [site, *_] = [port for part, port in ports.items() if part.kind == "web"]
    shared = environment | internal | {"SITE_URL": _site(site)}
    for port in [port for part, port in ports.items() if part.kind == "broker"]:
        shared["BROKER_URL"] = valkey.url(port)
    return [Running(part, _process(part, shared, folder, ports.get(part, 0))) for part in parts]


def _process(part: Part, environment: dict[str, str], folder: Path, port: int) -> Process:
    own = environment | {"ENGINE": part.engine} | ({"CONTEXTS": part.context} if part.context else {})
    match part.kind:
        case "engine":
            return engine(part.name, own, folder)
        case "worker":
            return workers.worker(part.name, own, folder, part.which)
        case "beat":
            return workers.beat(part.name, own, folder)
        case "broker":
            return workers.broker(part.name, own, folder, port)
    application, alive = SERVERS[part.kind]
    return server(part.name, own, folder, port, application, alive=alive)


def _site(port: int) -> str:
    return f"http://{HOST}:{port}"


class Sites:
    """The public addresses, by what is asked for: as a gateway has it, or any of those that host everything."""

    def __init__(self, shop: Iterable[Running]) -> None:
        self.of_context: dict[str, list[str]] = {}
        for part, process in shop:
            if part.kind == "web":
                self.of_context.setdefault(part.context, []).append(_site(process.port))
        self.routes = [
            (re.compile(pattern), context) for context, patterns in gateway.routes().items() for pattern in patterns
        ]

    def of(self, path: str) -> list[str]:
        """Where one may ask for this."""
        return self.of_context.get("") or self.of_context[self._host(path.partition("?")[0])]

    def _host(self, path: str) -> str:
        return next((context for pattern, context in self.routes if pattern.match(path)), gateway.FRONT)
