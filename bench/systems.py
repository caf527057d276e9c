"""What is measured: Satsuma and the control, each behind the same server program, on databases of its own."""

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

from bench import catalogue, machine
from bench.machine import Failed, Process
from bench.postgres import Postgres
from config import valkey
from config.keys import signing_key

CONTEXTS = ("orders", "inventory", "payments", "users", "notifications")
ROOT = Path(__file__).resolve().parent.parent
INHERITED = ("PATH", "HOME", "LANG", "TMPDIR")  # nothing that configures a shop
SHOWN = 4000  # characters of a log, where a run failed
DRAIN_PATIENCE = 120.0  # seconds until all that follows the last order has to be done


@dataclass(frozen=True)
class Layout:
    """How many web workers with how many threads, and who runs Satsuma's engine: they, a process of its own, or Celery's."""

    workers: int = 2
    threads: int = 4
    engine: str = "embedded"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class System:
    """A shop: prepared once, then thawed for each of its rounds."""

    application: str
    databases: tuple[str, ...]

    def __init__(self, name: str, postgres: Postgres, layout: Layout, folder: Path, products: int) -> None:
        self.name, self.postgres, self.layout, self.products = name, postgres, layout, products
        self.output = (folder / f"{name}.log").open("ab")
        self.port = _free_port()
        self.processes: list[Process] = []
        self.connections: dict[str, psycopg.Connection] = {}
        self.environment = {
            **{name: os.environ[name] for name in INHERITED if name in os.environ},
            "PYTHONPATH": str(ROOT),
            "SECRET_KEY": secrets.token_urlsafe(48),
            "DATABASE_POOL_SIZE": "16",
            "LOG_LEVEL": "WARNING",
        }

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        for database in self.databases:
            self.connections[database] = self.postgres.connect(database)
        self._serve()
        machine.wait_until(self._answers, f"{self.name} starts")

    def _serve(self) -> None:
        self._spawn_server(self.application, self.port, self.layout.workers)

    def _spawn_server(self, application: str, port: int, workers: int, **own: str) -> None:
        self._spawn(
            "-m", "granian", "--interface", "wsgi", "--host", "127.0.0.1", "--port", str(port), "--no-ws",
            "--workers", str(workers), "--blocking-threads", str(self.layout.threads),
            "--log-level", "warning", application, **own,
        )  # fmt: skip

    def _spawn(self, *arguments: str, program: str = sys.executable, **own: str) -> None:
        command, environment = [program, *arguments], self.environment | own
        self.processes.append(Process(command, environment, stdout=self.output, stderr=self.output, cwd=ROOT))

    def _answers(self) -> bool:
        if any(process.child.poll() is not None for process in self.processes):
            raise Failed(f"{self.name} ended while it started; see {self.output.name}")
        try:
            return all(_opens(address) for address in self._addresses())
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False

    def _addresses(self) -> list[str]:
        """What answers when everything does."""
        return [f"http://127.0.0.1:{self.port}/api/v1/products/product-1"]

    def run(self, *arguments: str) -> None:
        """A command of this shop, in its environment."""
        done = subprocess.run(
            [sys.executable, *arguments], env=self.environment, cwd=ROOT, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise Failed(f"{self.name}: {' '.join(arguments)}: {done.stdout}{done.stderr}")

    def said(self) -> str:
        """The end of what its processes had to say."""
        return Path(self.output.name).read_text(errors="replace")[-SHOWN:]

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
        """Seconds of CPU that the processes of the shop have used."""
        return sum(machine.cpu(process.pid) for process in self.processes)

    def prepare(self) -> None:
        """Databases, tables and catalogue."""
        raise NotImplementedError

    def settle(self) -> float:
        """Wait until everything that followed the requests is done; the monotonic time at which it was."""
        return time.monotonic()

    def receipts(self) -> None:
        """Wait until every receipt is sent, where any is."""

    def restock(self, sku: str) -> None:
        """One unit more of a SKU, as a delivery of goods or a sale elsewhere would change it."""
        raise NotImplementedError

    def orders(self) -> int:
        """How many orders are confirmed, by the shop's own tables."""
        return self.count(self.databases[0], "SELECT count(*) FROM control_order WHERE status = 'confirmed'")

    def count(self, database: str, sql: str) -> int:
        """The one number that a statement finds, asked as the superuser."""
        [(found,)] = self.connections[database].execute(sql)
        return found


def _opens(address: str) -> bool:
    with urllib.request.urlopen(address, timeout=5):
        return True


class Control(System):
    """One Django app on one database."""

    application = "bench.control.wsgi:application"

    def restock(self, sku: str) -> None:
        self.connections[self.databases[0]].execute("UPDATE control_variant SET stock = stock + 1 WHERE sku = %s", [sku])

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
    """Five contexts, five databases, and the mail server that takes the receipts."""

    application = "config.wsgi:application"

    def __init__(self, *arguments: object, mail_port: int) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        prefix = f"bench_{self.name}"
        self.databases = tuple(f"{prefix}_{context}" for context in CONTEXTS)
        self.environment |= {
            "DATABASE_URL": self.postgres.url("postgres"),
            "DATABASE_PREFIX": prefix,
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "JWT_SIGNING_KEY": signing_key(),
            "SITE_URL": f"http://127.0.0.1:{self.port}",
            "ENGINE": "none" if self.layout.engine == "separate" else self.layout.engine,
            "BROKER_URL": valkey.url(_free_port()) if self.layout.engine == "celery" else "",
            "EMAIL_HOST": "127.0.0.1",
            "EMAIL_PORT": str(mail_port),
        }

    def prepare(self) -> None:
        """By the shop's own commands."""
        self.run("manage.py", "databases")
        self.run("manage.py", "migrate", "--verbosity", "0")
        file = Path(self.output.name).with_suffix(".json")
        file.write_text(json.dumps(catalogue.satsuma(self.products)))
        self.run("manage.py", "seed_catalogue", str(file))

    def restock(self, sku: str) -> None:
        statement = "UPDATE inventory_stock SET on_hand = on_hand + 1, initial = initial + 1 WHERE sku = %s"
        self.connections[self.databases[1]].execute(statement, [sku])

    def start(self) -> None:
        if self.layout.engine == "celery":
            port = urlsplit(self.environment["BROKER_URL"]).port
            program, *arguments = valkey.command(port, Path(self.output.name).parent)
            self._spawn(*arguments, program=program)
            for context in CONTEXTS:
                self._spawn("-m", "config.worker", context)
            self._spawn("-m", "celery", "-A", "config.celery", "beat", "--loglevel", "WARNING")
        super().start()
        if self.layout.engine == "separate":
            self._spawn("manage.py", "engine")

    def settle(self) -> float:
        """Every checkout ended, delivery acknowledged, inbox row handled: seen so twice, as one may lead to the next."""
        for _ in range(2):
            machine.wait_until(lambda: not any(self._waits()), "events", patience=DRAIN_PATIENCE, pause=0.02)
        return time.monotonic()

    def _waits(self) -> Iterator[bool]:
        yield bool(self.count(self.databases[0], "SELECT count(*) FROM orders_order WHERE due_at IS NOT NULL"))
        for connection in (self.connections[database] for database in self.databases):
            [(waits,)] = connection.execute(
                """SELECT EXISTS (SELECT FROM shop_delivery WHERE acknowledged_at IS NULL)
                          OR EXISTS (SELECT FROM shop_inboxrow WHERE handled_at IS NULL)"""
            )
            yield waits

    def receipts(self) -> None:
        waiting = "SELECT count(*) FROM notifications_message WHERE status = 'waiting'"
        machine.wait_until(lambda: not self.count(self.databases[4], waiting), "receipts", patience=DRAIN_PATIENCE)

    def orders(self) -> int:
        return self.count(self.databases[0], "SELECT count(*) FROM orders_order WHERE status = 'confirmed' AND step = 'done'")


class Split(Satsuma):
    """The same shop with each context in a process tree of its own, as `make split` has it but for the gateway.

    Each tree has a public and an internal server of one worker, each with an engine. `port` is that of orders: in both
    shops customers talk to whoever takes their order.
    """

    def __init__(self, *arguments: object, mail_port: int) -> None:
        super().__init__(*arguments, mail_port=mail_port)
        self.public = {context: _free_port() for context in CONTEXTS} | {"orders": self.port}
        self.internal = {context: _free_port() for context in CONTEXTS}

    def _serve(self) -> None:
        addresses = {f"{context.upper()}_URL": f"http://127.0.0.1:{port}" for context, port in self.internal.items()}
        for context in CONTEXTS:
            own = {"CONTEXTS": context, **addresses}
            self._spawn_server(self.application, self.public[context], 1, **own)
            self._spawn_server("config.internal:application", self.internal[context], 1, **own)

    def _answers(self) -> bool:
        for port in self.internal.values():
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)):
                    return False
        return super()._answers()

    def _addresses(self) -> list[str]:
        return [f"http://127.0.0.1:{port}/ready" for port in self.public.values()]
