"""The processes of the shop, and their addresses: all contexts in each process, or one context per process."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from ops.deploy import gateway
from ops.launch import valkey
from tests.ports import reserve_port
from tests.soak import workers
from tests.soak.plan import ProcessSpec
from tests.soak.supervisor import Process, create_engine, create_server

HOST = "127.0.0.1"
SERVER_APPLICATIONS = {
    "web": ("config.wsgi", 200),
    "internal": ("config.internal", 404),
}  # the application, and the status of its /health


class RunningProcess(NamedTuple):
    """A process and its specification."""

    part: ProcessSpec
    process: Process


def build_processes(parts: Iterable[ProcessSpec], environment: dict[str, str], folder: Path) -> list[RunningProcess]:
    """Create the processes of the shop, each with a port that it keeps. None of them is started yet."""
    ports = {part: reserve_port() for part in parts if part.kind in (*SERVER_APPLICATIONS, "broker")}
    internal = {
        f"{part.context.upper()}_URL": _build_site_url(port) for part, port in ports.items() if part.kind == "internal"
    }
    [site, *_] = [port for part, port in ports.items() if part.kind == "web"]
    shared = environment | internal | {"SITE_URL": _build_site_url(site)}
    for port in [port for part, port in ports.items() if part.kind == "broker"]:
        shared["BROKER_URL"] = valkey.build_url(port)
    return [RunningProcess(part, _create_process(part, shared, folder, ports.get(part, 0))) for part in parts]


def _create_process(part: ProcessSpec, environment: dict[str, str], folder: Path, port: int) -> Process:
    own = environment | {"ENGINE": part.engine} | ({"CONTEXTS": part.context} if part.context else {})
    match part.kind:
        case "engine":
            return create_engine(part.name, own, folder)
        case "worker":
            return workers.create_worker(part.name, own, folder, part.which)
        case "beat":
            return workers.create_beat(part.name, own, folder)
        case "broker":
            return workers.create_broker(part.name, own, folder, port)
    application, alive = SERVER_APPLICATIONS[part.kind]
    return create_server(part.name, own, folder, port, application, alive=alive)


def _build_site_url(port: int) -> str:
    return f"http://{HOST}:{port}"


class Sites:
    """The public addresses, by path: as a gateway routes them, or any server if each one hosts all contexts."""

    def __init__(self, shop: Iterable[RunningProcess]) -> None:
        self.sites_by_context: dict[str, list[str]] = {}
        for part, process in shop:
            if part.kind == "web":
                self.sites_by_context.setdefault(part.context, []).append(_build_site_url(process.port))
        self.routes = [
            (re.compile(pattern), context)
            for context, patterns in gateway.build_routes().items()
            for pattern in patterns
        ]

    def of(self, path: str) -> list[str]:
        """Return the addresses that serve a path."""
        return self.sites_by_context.get("") or self.sites_by_context[self._host(path.partition("?")[0])]

    def _host(self, path: str) -> str:
        return next((context for pattern, context in self.routes if pattern.match(path)), gateway.DEFAULT_CONTEXT)
