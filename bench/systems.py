"""The measured systems: Satsuma and the control, each behind the same server program and with its own databases."""

import json
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psycopg

from bench import catalogue, processes
from bench.postgres import Postgres
from bench.processes import Failed, Process
from config.contexts import ALL_CONTEXTS
from ops.launch import valkey
from ops.launch.keys import generate_signing_key

ROOT = Path(__file__).resolve().parent.parent
INHERITED = ("PATH", "HOME", "LANG", "TMPDIR")  # environment variables, of which none configures a shop
MAX_LOG_CHARACTERS = 4000  # of a log that is printed when a run fails
DRAIN_TIMEOUT_SECONDS = 120.0  # how long the events of the last orders may take


@dataclass(frozen=True)
class Layout:
    """The number of web workers and threads, and the engine of Satsuma: embedded in them, separate, or celery."""

    workers: int = 2
    threads: int = 4
    engine: str = "embedded"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class System:
    """A measured shop: prepared once, then thawed for each of its rounds."""

    application: str
    databases: tuple[str, ...]

    def __init__(
        self, name: str, postgres: Postgres, layout: Layout, folder: Path, products: int, *, root: Path = ROOT
    ) -> None:
        self.name, self.postgres, self.layout, self.products, self.root = name, postgres, layout, products, root
        self.output = (folder / f"{name}.log").open("ab")
        self.port = _free_port()
        self.processes: list[Process] = []
        self.connections: dict[str, psycopg.Connection] = {}
        self.environment = {
            **{name: os.environ[name] for name in INHERITED if name in os.environ},
            "PYTHONPATH": str(root),
            "SECRET_KEY": secrets.token_urlsafe(48),
            "DATABASE_POOL_SIZE": "16",
            "LOG_LEVEL": "WARNING",
            "RATE_LIMITS": "false",  # all clients have one address
        }

    def start(self) -> None:
        """Start the server, and wait until it responds."""
        for database in self.databases:
            self.connections[database] = self.postgres.connect(database)
        self._serve()
        processes.wait_until(self._is_responding, f"start of {self.name}")

    def _serve(self) -> None:
        self._spawn_server(self.application, self.port, self.layout.workers)

    def _spawn_server(self, application: str, port: int, workers: int, **own: str) -> None:
        self._spawn(
            "-m", "granian", "--host", "127.0.0.1", "--port", str(port), "--no-ws", "--workers", str(workers),
            *self._build_interface_options(), "--log-level", "warning", application, **own,
        )  # fmt: skip

    def _build_interface_options(self) -> list[str]:
        return ["--interface", "wsgi", "--blocking-threads", str(self.layout.threads)]

    def _spawn(self, *arguments: str, program: str = sys.executable, **own: str) -> None:
        command, environment = [program, *arguments], self.environment | own
        self.processes.append(Process(command, environment, stdout=self.output, stderr=self.output, cwd=self.root))

    def _is_responding(self) -> bool:
        if any(process.child.poll() is not None for process in self.processes):
            raise Failed(f"{self.name} exited while it started; see {self.output.name}")
        try:
            return all(_can_open(address) for address in self._list_probe_urls())
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False

    def _list_probe_urls(self) -> list[str]:
        """List the URLs that respond once the whole system does."""
        return [f"http://127.0.0.1:{self.port}/api/v1/products/product-1"]

    def run(self, *arguments: str) -> None:
        """Run a command of this shop, in its environment. Raises Failed."""
        done = subprocess.run(
            [sys.executable, *arguments],
            env=self.environment,
            cwd=self.root,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise Failed(f"{self.name}: {' '.join(arguments)}: {done.stdout}{done.stderr}")

    def read_log_end(self) -> str:
        """Return the end of the log of its processes."""
        return Path(self.output.name).read_text(errors="replace")[-MAX_LOG_CHARACTERS:]

    def freeze(self) -> None:
        for process in self.processes:
            process.freeze()

    def thaw(self) -> None:
        for process in self.processes:
            process.thaw()

    def stop(self) -> None:
        for process in self.processes:
            process.stop()
        for connection in self.connections.values():
            connection.close()
        self.output.close()

    def cpu(self) -> float:
        """Return the seconds of CPU that the processes of the shop have used."""
        return sum(processes.cpu(process.pid) for process in self.processes)

    def prepare(self) -> None:
        """Create databases, tables and catalogue."""
        raise NotImplementedError

    def settle(self) -> float:
        """Wait until all events of the requests are handled. Returns the monotonic time at which they were."""
        return time.monotonic()

    def await_receipts(self) -> None:
        """Wait until every receipt is sent, if the system sends any."""

    def restock(self, sku: str) -> None:
        """Add one unit to the stock of a SKU."""
        raise NotImplementedError

    def orders(self) -> int:
        """Count the confirmed orders in the shop's own tables."""
        return self.count(self.databases[0], "SELECT count(*) FROM control_order WHERE status = 'confirmed'")

    def count(self, database: str, sql: str) -> int:
        """Return the one number that a statement selects."""
        [(number,)] = self.connections[database].execute(sql)
        return int(number)


def _can_open(address: str) -> bool:
    with urllib.request.urlopen(address, timeout=5):
        return True


class Control(System):
    """The control: one Django app on one database."""

    application = "bench.control.wsgi:application"

    def restock(self, sku: str) -> None:
        self.connections[self.databases[0]].execute(
            "UPDATE control_variant SET stock = stock + 1 WHERE sku = %s", [sku]
        )

    def prepare(self) -> None:
        self.databases = (f"bench_{self.name}",)
        role = self.databases[0]
        self.postgres.connection.execute(f"CREATE ROLE {role} LOGIN")
        self.postgres.connection.execute(f"CREATE DATABASE {role} OWNER {role}")
        self.environment |= {
            "DATABASE_URL": self.postgres.url(role, role),
            "DJANGO_SETTINGS_MODULE": "bench.control.settings",
        }
        self.run("-m", "django", "migrate", "--run-syncdb", "--verbosity", "0")
        with closing(self.postgres.connect(role)) as connection:
            catalogue.fill_control(connection, self.products)


class Satsuma(System):
    """Satsuma with five contexts and five databases, and a mail server for the receipts."""

    application = "config.wsgi:server"

    def _build_interface_options(self) -> list[str]:
        """As ops/launch/serve.py starts it; WEB_THREADS and INTERNAL_THREADS are the number of threads."""
        return ["--interface", "rsgi", "--loop", "asyncio"]

    def __init__(self, *arguments: object, mail_port: int, root: Path = ROOT) -> None:
        super().__init__(*arguments, root=root)  # type: ignore[arg-type]
        self.databases = tuple(map(self.name_database, ALL_CONTEXTS))
        self.environment |= {
            "DATABASE_URL": self.postgres.url("postgres"),
            "DATABASE_PREFIX": f"bench_{self.name}",
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "JWT_SIGNING_KEY": generate_signing_key(),
            "SITE_URL": f"http://127.0.0.1:{self.port}",
            "WEB_THREADS": str(self.layout.threads),
            "INTERNAL_THREADS": str(self.layout.threads),
            "ENGINE": "none" if self.layout.engine == "separate" else self.layout.engine,
            "BROKER_URL": valkey.build_url(_free_port()) if self.layout.engine == "celery" else "",
            "EMAIL_HOST": "127.0.0.1",
            "EMAIL_PORT": str(mail_port),
        }

    def name_database(self, context: str) -> str:
        """Return the name of a context's database."""
        return f"bench_{self.name}_{context}"

    def prepare(self) -> None:
        """Run the shop's own commands."""
        self.run("manage.py", "databases")
        self.run("manage.py", "migrate", "--verbosity", "0")
        file = Path(self.output.name).with_suffix(".json")
        file.write_text(json.dumps(catalogue.satsuma(self.products)))
        self.run("manage.py", "seed_catalogue", str(file))

    def restock(self, sku: str) -> None:
        statement = "UPDATE inventory_stock SET on_hand = on_hand + 1, initial = initial + 1 WHERE sku = %s"
        self.connections[self.name_database("inventory")].execute(statement, [sku])

    def start(self) -> None:
        if self.layout.engine == "celery":
            port = urlsplit(self.environment["BROKER_URL"]).port or 0
            program, *arguments = valkey.build_command(port, Path(self.output.name).parent)
            self._spawn(*arguments, program=program)
            for context in ALL_CONTEXTS:
                self._spawn("-m", "ops.launch.worker", context)
            self._spawn("-m", "celery", "-A", "config.celery", "beat", "--loglevel", "WARNING")
        super().start()
        if self.layout.engine == "separate":
            self._spawn("manage.py", "engine")

    def settle(self) -> float:
        """Wait until no checkout, delivery or inbox row is pending. Checks twice, since one may lead to the next."""
        for _ in range(2):
            processes.wait_until(
                lambda: not any(self._find_pending()), "events", timeout=DRAIN_TIMEOUT_SECONDS, interval=0.02
            )
        return time.monotonic()

    def _find_pending(self) -> Iterator[bool]:
        """Return, for the orders and for each database, whether work is pending."""
        yield bool(
            self.count(self.name_database("orders"), "SELECT count(*) FROM orders_order WHERE due_at IS NOT NULL")
        )
        for connection in (self.connections[database] for database in self.databases):
            [(is_pending,)] = connection.execute(
                """SELECT EXISTS (SELECT FROM shop_delivery WHERE acknowledged_at IS NULL)
                          OR EXISTS (SELECT FROM shop_inboxrow WHERE handled_at IS NULL)"""
            )
            yield is_pending

    def await_receipts(self) -> None:
        waiting = "SELECT count(*) FROM notifications_message WHERE status = 'waiting'"
        processes.wait_until(
            lambda: not self.count(self.name_database("notifications"), waiting),
            "receipts",
            timeout=DRAIN_TIMEOUT_SECONDS,
        )

    def orders(self) -> int:
        return self.count(
            self.name_database("orders"),
            "SELECT count(*) FROM orders_order WHERE status = 'confirmed' AND step = 'done'",
        )


class Split(Satsuma):
    """The same shop with one process tree for each context, like `make split` without the gateway.

    Each tree has a public and an internal server with one worker, each with an engine. `port` is that of orders, so that
    clients send orders directly to the context that takes them, as in the monolith.
    """

    def __init__(self, *arguments: object, mail_port: int) -> None:
        super().__init__(*arguments, mail_port=mail_port)
        self.public = {context: _free_port() for context in ALL_CONTEXTS} | {"orders": self.port}
        self.internal = {context: _free_port() for context in ALL_CONTEXTS}

    def _serve(self) -> None:
        addresses = {f"{context.upper()}_URL": f"http://127.0.0.1:{port}" for context, port in self.internal.items()}
        for context in ALL_CONTEXTS:
            own = {"CONTEXTS": context, **addresses}
            self._spawn_server(self.application, self.public[context], 1, **own)
            self._spawn_server("config.internal:server", self.internal[context], 1, **own)

    def _is_responding(self) -> bool:
        for port in self.internal.values():
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)):
                    return False
        return super()._is_responding()

    def _list_probe_urls(self) -> list[str]:
        return [f"http://127.0.0.1:{port}/ready" for port in self.public.values()]


def extract_revision(revision: str, folder: Path) -> Path:
    """Write the files of a git revision to a new folder, and return the folder. Raises Failed."""
    folder.mkdir()
    archive = subprocess.run(["git", "archive", "--format=tar", revision], cwd=ROOT, capture_output=True, check=False)
    if archive.returncode:
        raise Failed(f"--before {revision}: {archive.stderr.decode().strip()}")
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive.stdout, check=True)
    return folder
