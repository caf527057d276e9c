"""`make test-install`: install requirements/run.txt and up.txt, and place an order in every way to run.

It needs a package index, and nginx for the split. The servers (PostgreSQL, Valkey) are those of the test environment, since an
operator provides them. Each way prints one line.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ops.launch import keys, valkey
from ops.launch.postgres import PostgresServer
from tests.concurrency import eventually
from tests.http_shopper import Shopper
from tests.ports import reserve_port

ROOT = Path(__file__).resolve().parents[2]
START_TIMEOUT_SECONDS = 180.0
MAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
COMMANDS = sorted(file.stem for file in ROOT.glob("*/**/management/commands/[a-z]*.py") if ".venv" not in file.parts)


class Installation:
    """A virtual environment with the packages of one lock file, and an environment without any of the caller's settings."""

    def __init__(self, folder: Path, lock: str) -> None:
        self.python = str(folder / lock / "bin" / "python")
        subprocess.run([sys.executable, "-m", "venv", str(folder / lock)], check=True)
        install = [self.python, "-m", "pip", "install", "--quiet", "--require-hashes", "-r", f"requirements/{lock}.txt"]
        subprocess.run(install, cwd=ROOT, check=True)
        kept = ("PATH", "HOME", "LANG", "TMPDIR")
        self.environment = {name: os.environ[name] for name in kept if name in os.environ}

    def run(self, *arguments: str, **environment: str) -> str:
        """Run a command to its end and return its output. Raises SystemExit, with the output, if it fails."""
        done = subprocess.run(
            [self.python, *arguments], cwd=ROOT, env=self.environment | environment,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise SystemExit(f"{' '.join(arguments)} failed:\n{done.stdout}")
        return done.stdout

    @contextmanager
    def running(self, *arguments: str, **environment: str) -> Iterator[subprocess.Popen]:
        """Run a process while the block runs. Raises SystemExit unless it stops by SIGTERM with status 0."""
        process = subprocess.Popen([self.python, *arguments], cwd=ROOT, env=self.environment | environment)
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            status = process.wait(60)
        if status:
            raise SystemExit(f"{' '.join(arguments)} ended with status {status}")


def buy(port: int) -> None:
    """Wait until the shop is ready, and place an order."""
    shopper = Shopper(f"http://127.0.0.1:{port}")

    def is_ready() -> bool:
        try:
            return shopper.get("/ready").status == 200
        except OSError:
            return False

    eventually(is_ready, timeout=START_TIMEOUT_SECONDS)
    products = shopper.get("products?in_stock=true").body["results"]
    sku = next(variant["sku"] for product in products for variant in product["variants"] if variant["available"])
    assert shopper.order(sku).status == 201


def await_mail(folder: Path, count: int) -> None:
    """Wait until this many e-mails were sent: the engine sends one after it has received the event of the order."""
    eventually(lambda: len(list(folder.glob("*"))) >= count, timeout=START_TIMEOUT_SECONDS)


def try_way(name: str, run: Callable[[], object]) -> None:
    began = time.monotonic()
    run()
    print(f"{time.monotonic() - began:6.1f} s  {name}", flush=True)


class Deployment:
    """A prepared shop on a server of its own, and the ways to run it."""

    def __init__(self, installation: Installation, folder: Path, database_url: str) -> None:
        self.installation, self.port = installation, reserve_port()
        self.mails = folder / "mail"
        self.settings = {
            "DATABASE_URL": database_url, "SECRET_KEY": keys.generate_secret_key(), "LOG_LEVEL": "WARNING",
            "JWT_SIGNING_KEY": keys.generate_signing_key(), "SITE_URL": f"http://127.0.0.1:{self.port}",
            "EMAIL_BACKEND": MAIL_BACKEND, "EMAIL_FILE_PATH": str(self.mails), "PORT": str(self.port), "WEB_WORKERS": "1",
        }  # fmt: skip

    def list_ways(self) -> dict[str, Callable[[], object]]:
        return {
            "python -m ops.launch.prepare": lambda: self._run("-m", "ops.launch.prepare"),
            "manage.py check --deploy": self._check_deploy,
            "manage.py migrate": lambda: self._run("manage.py", "migrate"),
            "manage.py verify": lambda: self._run("manage.py", "verify"),
            f"the help of {len(COMMANDS)} commands": self._show_help,
            "python -m ops.launch.serve": lambda: self._serve({"ENGINE": "embedded"}),
            "serve with ENGINE=none, manage.py engine": lambda: self._serve(
                {"ENGINE": "none"}, ["manage.py", "engine"]
            ),
            "serve, worker and beat with ENGINE=celery": self._serve_with_broker,
        }

    def _run(self, *arguments: str, **environment: str) -> str:
        return self.installation.run(*arguments, **self.settings | environment)

    def _check_deploy(self) -> None:
        https = {"SITE_URL": "https://shop.example", "TRUSTED_PROXIES": "10.0.0.7", "ALLOW_SANDBOX_PAYMENTS": "true"}
        self._run("manage.py", "check", "--deploy", "--fail-level", "WARNING", **https)

    def _show_help(self) -> None:
        for command in COMMANDS:
            self._run("manage.py", command, "--help")

    def _serve(self, environment: dict[str, str], *others: list[str]) -> None:
        sent = len(list(self.mails.glob("*")))
        with ExitStack() as processes:
            for arguments in (["-m", "ops.launch.serve"], *others):
                processes.enter_context(self.installation.running(*arguments, **self.settings | environment))
            buy(self.port)
            await_mail(self.mails, sent + 1)

    def _serve_with_broker(self) -> None:
        port = reserve_port()
        with tempfile.TemporaryDirectory() as folder:
            broker = subprocess.Popen(valkey.build_command(port, Path(folder)), stdout=subprocess.DEVNULL)
            try:
                worker = ["-m", "ops.launch.worker"]
                beat = ["-m", "celery", "-A", "config.celery", "beat", "--schedule", f"{folder}/schedule"]
                self._serve({"ENGINE": "celery", "BROKER_URL": valkey.build_url(port)}, worker, beat)
            finally:
                broker.kill()
                broker.wait()


def launch(installation: Installation, module: str, folder: Path, check: Callable[[int], None]) -> None:
    """Run `make up` or `make split` with its data in a folder, and check the shop on its port."""
    port = reserve_port()
    with installation.running("-m", module, DATA_DIR=str(folder), PORT=str(port)):
        check(port)


def check_gateway(port: int) -> None:
    """Buy as a browser does, from another origin, and read the errors of the gateway itself."""
    buy(port)
    shopper, origin = Shopper(f"http://127.0.0.1:{port}"), "http://localhost:3000"
    for path in ("orders", "products", "users/me", "payments/x", "notifications"):
        preflight = shopper.send("OPTIONS", path, Origin=origin, Access_Control_Request_Method="POST")
        assert preflight.headers["access-control-allow-origin"] == origin, path
        assert "access-control-allow-origin" in shopper.get(f"{path}/x/y", Origin=origin).headers, path
    errors = {
        413: shopper.post("orders", b"x" * 2_000_000, Origin=origin),
        414: shopper.get("products?search=" + "x" * 20_000, Origin=origin),
        405: shopper.send("TRACE", "orders", Origin=origin),
        400: shopper.get("orders/%00", Origin=origin),
        404: shopper.get("/gateway-errors/502"),
    }
    for status, answer in errors.items():
        assert (answer.status, answer.body["status"]) == (status, status), answer
        assert answer.headers["access-control-allow-origin"] == "*"
        assert answer.body["request_id"] == answer.headers["x-request-id"]
    kept = shopper.get("orders", X_Request_ID="mine-1")
    assert (kept.status, kept.headers["x-request-id"]) == (401, "mine-1")


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="satsuma-install-") as name, ExitStack() as stack:
        folder = Path(name)
        server = PostgresServer(folder / "server", durable=False)
        server.start()
        stack.callback(server.stop)
        deployment = Deployment(Installation(folder, "run"), folder, server.url)
        for way, run in deployment.list_ways().items():
            try_way(way, run)
        local = Installation(folder, "up")
        try_way("make up", lambda: launch(local, "ops.launch.up", folder / "one", buy))
        try_way("make split", lambda: launch(local, "ops.launch.split", folder / "five", check_gateway))
    return 0


if __name__ == "__main__":
    sys.exit(main())
