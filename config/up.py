"""`make up`: a shop that sells, from nothing. Standard library only, so that the launcher stays small beside the shop.

It starts PostgreSQL unless DATABASE_URL names one, prepares databases and data, runs the server, and stops it all on
Ctrl-C or SIGTERM. Killed at any point, it goes on with the same data the next time.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from config import keys, serve
from config.embedded import NoPostgres, Server
from config.serve import Failed

HOST = "127.0.0.1"
START_PATIENCE = 60.0  # seconds until the shop has to answer
STOP_PATIENCE = 20.0


@contextmanager
def step(text: str) -> Iterator[None]:
    """Say what is being done, and how long it took."""
    print(f"  {text} ... ", end="", flush=True)
    began = time.monotonic()
    try:
        yield
    except BaseException:
        print(flush=True)
        raise
    print(f"{time.monotonic() - began:.1f} s", flush=True)


Serve = Callable[[dict[str, str], int, dict[str, str]], int]  # environment, port, what was prepared: exit status


def main() -> int:
    return launch(_serve)


def launch(serve_it: Serve) -> int:
    """Everything around the server: database, data, secrets, and an orderly end. Its exit status."""
    for stop in (signal.SIGINT, signal.SIGTERM):  # SIGINT too: a shell starts its background jobs with it ignored
        signal.signal(stop, _interrupt)
    folder = Path(os.environ.get("DATA_DIR") or ".data").resolve()
    try:
        port = _port()
        print(f"Satsuma, with its data in {folder}", flush=True)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return _run(folder, port, serve_it)
    except (Failed, NoPostgres) as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


def _port() -> int:
    port = serve.number("PORT", 8000, 65535)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise Failed(f"Port {port} cannot be used ({error.strerror}). Stop what uses it, or: PORT=8001 make up") from None
    return port


def _run(folder: Path, port: int, serve_it: Serve) -> int:
    environment = _environment(folder, port)
    server = None
    if "DATABASE_URL" not in os.environ:
        server = Server(folder)
        with step("Starting PostgreSQL"):
            server.start()
        environment["DATABASE_URL"] = server.url
    _keep(environment, folder / "env")
    try:
        with step("Preparing five databases, catalogue and staff"):
            prepared = _prepare(environment)
        return serve_it(environment, port, prepared)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not leave the database behind
        if server:
            with step("Stopping PostgreSQL"):
                server.stop()


def _environment(folder: Path, port: int) -> dict[str, str]:
    """What is set wins; secrets that are not are made once and kept in the data folder."""
    kept = folder / "secrets.json"
    if not kept.exists():
        keys.write(kept, json.dumps({"SECRET_KEY": keys.secret_key(), "JWT_SIGNING_KEY": keys.signing_key()}))
    mail = {} if "EMAIL_HOST" in os.environ else {
        "EMAIL_BACKEND": "django.core.mail.backends.filebased.EmailBackend",
        "EMAIL_FILE_PATH": str(folder / "mail"),
    }  # fmt: skip
    site = {"SITE_URL": f"http://{HOST}:{port}", "LOG_LEVEL": "WARNING"}
    return {**site, **mail, **json.loads(kept.read_text()), **os.environ}


def _keep(environment: dict[str, str], file: Path) -> None:
    """What a command of this shop has to know, for a shell: `set -a; . .data/env`."""
    names = ("DATABASE_URL", "SECRET_KEY", "JWT_SIGNING_KEY", "SITE_URL", "EMAIL_BACKEND", "EMAIL_FILE_PATH", "LOG_LEVEL")
    known = {name: environment[name].replace("\n", "\\n") for name in names if name in environment}
    keys.write(file, keys.settings(known))


def _prepare(environment: dict[str, str]) -> dict[str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "config.prepare"], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise Failed(done.stderr.strip() or done.stdout.strip())
    return json.loads(done.stdout.splitlines()[-1])


def _serve(environment: dict[str, str], port: int, prepared: dict[str, str]) -> int:
    here = {"PORT": str(port), "WEB_HOST": HOST, "WEB_WORKERS": "1"}
    command = [sys.executable, "-m", "config.serve"]
    server = subprocess.Popen(command, env=environment | here, preexec_fn=serve.in_a_group_of_its_own)
    try:
        with step("Starting the shop"):
            await_ready(server, port)
        welcome(port, prepared)
        return server.wait()
    finally:
        stop(server)


def await_ready(server: subprocess.Popen, port: int) -> None:
    deadline = time.monotonic() + START_PATIENCE
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise Failed("The server ended while starting; what it said stands above.")
        try:
            with urllib.request.urlopen(f"http://{HOST}:{port}/ready", timeout=5):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.1)
    raise Failed(f"The server did not get ready within {START_PATIENCE:.0f} s")


def stop(server: subprocess.Popen) -> None:
    if server.poll() is None:
        with step("Stopping the shop"):
            server.terminate()
            try:
                server.wait(STOP_PATIENCE)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def _something_in_stock(site: str) -> str:
    """A SKU that can be bought now."""
    with urllib.request.urlopen(f"{site}/api/v1/products?in_stock=true", timeout=10) as response:
        variants = [variant for product in json.load(response)["results"] for variant in product["variants"]]
    return next((variant["sku"] for variant in variants if variant["available"]), "SKU")


def welcome(port: int, prepared: dict[str, str]) -> None:
    site = f"http://{HOST}:{port}"
    sku = _something_in_stock(site) if "inventory" in os.environ.get("CONTEXTS", "inventory") else "SKU"
    password = prepared.get("password") or "as shown at the first start (manage.py create_staff makes another)"
    print(
        f"""
  API docs   {site}/api/docs/
  Admin      {site}/admin/   {prepared["email"]}   password: {password}
  Catalogue  {site}/api/v1/products

Buy something:

  curl -s {site}/api/v1/orders -H 'Content-Type: application/json' -H "Idempotency-Key: my-order-$(date +%s%N)" -d '{{
    "email": "you@example.com", "items": [{{"sku": "{sku}", "quantity": 1}}],
    "shipping_address": {{"name": "You", "line1": "1 Main Street", "city": "Berlin", "postal_code": "10115", "country": "DE"}},
    "payment_method": {{"provider": "sandbox", "token": "tok_ok"}}}}'

Ctrl-C stops it.""",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
