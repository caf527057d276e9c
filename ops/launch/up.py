"""Start a shop that sells, from an empty folder: `make up`. Standard library only, so that the launcher uses little memory.

It starts PostgreSQL unless DATABASE_URL names a server, prepares databases and data, runs the shop, and stops everything on
Ctrl-C or SIGTERM. It may be killed at any point: the next start continues with the same data.
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
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NoReturn

from ops.launch import data_folder, keys, serve
from ops.launch.ports import PortUnavailable, claim_port
from ops.launch.postgres import PostgresServer, PostgresUnavailable, build_server_url
from ops.launch.process_tree import prepare_child_process
from ops.launch.serve import LaunchError
from ops.launch.supervisor import Supervisor

HOST = "127.0.0.1"
MAX_PORT = 65_535
START_TIMEOUT_SECONDS = 60.0
STOP_TIMEOUT_SECONDS = 20.0
ENVIRONMENT_FILE_NAMES = (
    "DATABASE_URL", "SECRET_KEY", "SECRET_KEY_FALLBACKS", "CREDENTIAL_KEY", "CREDENTIAL_KEY_FALLBACKS", "JWT_SIGNING_KEY",
    "JWT_RETIRED_KEYS", "SITE_URL", "CURRENCY", "EMAIL_BACKEND", "EMAIL_FILE_PATH", "LOG_LEVEL",
)  # fmt: skip

GENERATED_SECRETS = {
    "SECRET_KEY": keys.generate_secret_key, "CREDENTIAL_KEY": keys.generate_secret_key,
    "JWT_SIGNING_KEY": keys.generate_signing_key,
}  # fmt: skip

# Run the servers until a signal arrives: (environment, port, output of `ops.launch.prepare`, database server of the launcher)
ServeFunction = Callable[[dict[str, str], int, dict[str, str], PostgresServer | None], NoReturn]


@contextmanager
def report_step(text: str) -> Iterator[None]:
    """Print the step that begins, and how long it took."""
    print(f"  {text} ... ", end="", flush=True)
    started_at = time.monotonic()
    try:
        yield
    except BaseException:
        print(flush=True)
        raise
    print(f"{time.monotonic() - started_at:.1f} s", flush=True)


def main() -> int:
    return launch(_serve)


def launch(run_servers: ServeFunction, port_offsets: Sequence[int] = ()) -> int:
    """Prepare database, data and secrets, run the servers, and stop everything in order. Returns the exit status.

    port_offsets: the ports of other processes, relative to PORT.
    """
    for stop in (signal.SIGINT, signal.SIGTERM):  # SIGINT too: a shell starts its background jobs with it ignored
        signal.signal(stop, _interrupt)
    folder = data_folder.get_data_folder()
    claims: list[socket.socket] = []
    try:
        port = serve.read_integer("PORT", 8000, MAX_PORT - max(port_offsets, default=0))
        claims = _claim_ports(port, port_offsets)
        print(f"Starting Satsuma with its data in {folder}", flush=True)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _run(folder, port, run_servers)
    except (LaunchError, PostgresUnavailable) as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0
    finally:
        for claim in claims:
            claim.close()


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _claim_ports(port: int, offsets: Iterable[int]) -> list[socket.socket]:
    """Claim the port of the shop, and those of its other processes, until this process ends. Raises LaunchError."""
    try:
        return [claim_port(HOST, port + offset) for offset in (0, *offsets)]
    except PortUnavailable as error:
        raise LaunchError(f"{error} Stop the program that uses it, or choose another port: PORT=8001 make up") from None


def _run(folder: Path, port: int, run_servers: ServeFunction) -> NoReturn:
    with data_folder.lock(folder):
        _run_in_folder(folder, port, run_servers)


def _run_in_folder(folder: Path, port: int, run_servers: ServeFunction) -> NoReturn:
    environment = build_environment(folder, port)
    server = None
    # A shell that has loaded the settings of the shop (`. .data/env`) names the server of this folder.
    if os.environ.get("DATABASE_URL") in (None, build_server_url(folder)):
        server = PostgresServer(folder)
        _start_postgres(server)
        environment["DATABASE_URL"] = server.url
    _write_environment_file(environment, folder / "env")
    try:
        with report_step("Preparing five databases, a catalogue and a staff account"):
            prepared = _prepare(environment)
        run_servers(environment, port, prepared, server)
    finally:
        for stop in (signal.SIGINT, signal.SIGTERM):  # a second Ctrl-C must not leave the database running
            signal.signal(stop, signal.SIG_IGN)
        data_folder.delete_address()
        if server:
            with report_step("Stopping PostgreSQL"):
                server.stop()


def _start_postgres(server: PostgresServer) -> None:
    with report_step("Starting PostgreSQL"):
        try:
            server.start()
        except KeyboardInterrupt:
            server.stop()
            raise


def build_environment(folder: Path, port: int) -> dict[str, str]:
    """Build the environment of the shop: variables that are set win, missing secrets are generated once and stored."""
    secrets_file = folder / "secrets.json"
    secrets = json.loads(secrets_file.read_text()) if secrets_file.exists() else {}
    for name, generate in GENERATED_SECRETS.items():
        if name not in secrets:
            secrets[name] = generate()
    keys.write_private_file(secrets_file, json.dumps(secrets))
    mail = {
        "EMAIL_BACKEND": "django.core.mail.backends.filebased.EmailBackend",
        "EMAIL_FILE_PATH": str(folder / "mail"),
    }
    return {
        "SITE_URL": f"http://{HOST}:{port}",
        "LOG_LEVEL": "WARNING",
        "DISK_FOLDERS": str(folder),
        "CORS_ALLOW_LOCALHOST": "true",
        **({} if "EMAIL_HOST" in os.environ else mail),
        **secrets,
        **os.environ,
    }


def _write_environment_file(environment: dict[str, str], file: Path) -> None:
    """Write the settings that commands for this shop need, to be read by a shell: `set -a; . .data/env`."""
    values = {name: environment[name].replace("\n", "\\n") for name in ENVIRONMENT_FILE_NAMES if name in environment}
    keys.write_private_file(file, keys.format_settings(values))


def _prepare(environment: dict[str, str]) -> dict[str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "ops.launch.prepare"], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise LaunchError(done.stderr.strip() or done.stdout.strip())
    prepared: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return prepared


def _serve(environment: dict[str, str], port: int, prepared: dict[str, str], server: PostgresServer | None) -> NoReturn:
    supervisor = Supervisor(server)
    try:
        with report_step("Starting the shop"):
            web = {"PORT": str(port), "WEB_HOST": HOST, "WEB_WORKERS": "1"}
            await_ready(supervisor.start("The shop", partial(start_host, environment | web)), port)
        announce_ready(port, prepared)
        supervisor.keep_running()
    finally:
        stop_all(supervisor)


def start_host(environment: dict[str, str]) -> "subprocess.Popen[bytes]":
    """Start a process tree of the shop, whose settings and databases are prepared."""
    command = [sys.executable, "-m", "ops.launch.serve", serve.PREPARED_FLAG]
    return subprocess.Popen(command, env=environment, preexec_fn=prepare_child_process)


def await_ready(server: subprocess.Popen[bytes], port: int) -> None:
    """Wait until GET /ready succeeds. Raises LaunchError if the server exits or is not ready in time."""
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise LaunchError("The server exited while it was starting; its messages above say why.")
        try:
            with urllib.request.urlopen(f"http://{HOST}:{port}/ready", timeout=5):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.1)
    raise LaunchError(
        f"The server was not ready within {START_TIMEOUT_SECONDS:.0f} s; GET http://{HOST}:{port}/ready shows the reason."
    )


def stop_all(supervisor: Supervisor) -> None:
    """Stop the processes in the opposite order of their start."""
    for process in reversed(supervisor.running.values()):
        stop(process)


def stop(server: subprocess.Popen[bytes]) -> None:
    """Stop the server; kill it if it does not exit in time."""
    if server.poll() is None:
        with report_step("Stopping the shop"):
            server.terminate()
            try:
                server.wait(STOP_TIMEOUT_SECONDS)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def _find_available_sku(site_url: str) -> str:
    with urllib.request.urlopen(f"{site_url}/api/v1/products?in_stock=true", timeout=10) as response:
        variants = [variant for product in json.load(response)["results"] for variant in product["variants"]]
    return next((variant["sku"] for variant in variants if variant["available"]), "SKU")


def find_absent_contexts(site_url: str) -> list[str]:
    """Return the contexts that the settings leave to other processes, and that none serves."""
    with urllib.request.urlopen(f"{site_url}/ready", timeout=10) as response:
        return [context for context, state in json.load(response)["elsewhere"].items() if state != "ok"]


def announce_ready(port: int, prepared: dict[str, str]) -> None:
    """Record the address of the shop in the data folder, and print what a visitor can do now."""
    site_url = f"http://{HOST}:{port}"
    data_folder.write_address(site_url)
    sku = _find_available_sku(site_url) if "inventory" in os.environ.get("CONTEXTS", "inventory") else "SKU"
    for context in find_absent_contexts(site_url):
        print(
            f"\nWarning: no process serves {context} at {context.upper()}_URL, and CONTEXTS leaves it out.",
            file=sys.stderr,
        )
    email = prepared["email"]
    password = prepared.get("password") or f"as shown at the first start (a new one: manage.py changepassword {email})"
    print(
        f"""
  API docs   {site_url}/api/docs/
  Admin      {site_url}/admin/   {email}   password: {password}
  Catalogue  {site_url}/api/v1/products

Buy something:

  curl -s {site_url}/api/v1/orders -H 'Content-Type: application/json' -H "Idempotency-Key: my-order-$(date +%s%N)" -d '{{
    "email": "you@example.com", "items": [{{"sku": "{sku}", "quantity": 1}}],
    "shipping_address": {{"name": "You", "line1": "1 Main Street", "city": "Berlin", "postal_code": "10115", "country": "DE"}},
    "payment_method": {{"provider": "sandbox", "token": "tok_ok"}}}}'

Press Ctrl-C to stop.""",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
