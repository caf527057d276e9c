"""`python -m tests.soak`: run a soak test in a folder of its own.

It starts its own PostgreSQL even if DATABASE_URL is set, and inherits only the environment variables in KEPT_VARIABLES, so
that it cannot touch any other shop.
"""

import argparse
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from ops.launch import keys
from ops.launch.postgres import PostgresServer, PostgresUnavailable
from ops.launch.valkey import ValkeyUnavailable
from tests.soak.plan import ENGINES, PROCESSES_BY_MODE

KEPT_VARIABLES = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "TRANSPORT")
DATABASE_PREFIX = "test_soak"


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "chaos run", description="Place orders in a shop while faults are injected, then audit it."
    )
    add_arguments(parser)
    return parser.parse_args(arguments)


def add_arguments(parser: Any) -> None:
    """Add the options of the command line."""
    parser.add_argument("--seed", type=int, help="the same seed results in the same schedule (default: a random one)")
    parser.add_argument("--orders", type=_parse_count, default=200, help="number of orders (default: 200)")
    parser.add_argument(
        "--mode",
        choices=tuple(PROCESSES_BY_MODE),
        default="monolith",
        help="monolith: processes with all contexts; split: one context per process (default: monolith)",
    )
    parser.add_argument(
        "--engine",
        choices=ENGINES,
        default="embedded",
        help="celery: with a broker, workers and beat (default: embedded)",
    )
    parser.add_argument("--buyers", type=_parse_count, default=16, help="number of concurrent buyers (default: 16)")
    parser.add_argument(
        "--folder",
        type=Path,
        help="empty or new folder for data, logs and history (default: a temporary one, removed if nothing was violated)",
    )


def _parse_count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number greater than 0")
    return int(text)


def main() -> int:
    options = parse_arguments()
    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, _interrupt)
    folder = _prepare_folder(options.folder)
    try:
        database = PostgresServer(folder, durable=False)  # processes are killed here, not the machine
        database.start()
        try:
            status = _run(options, folder, database)
        finally:
            database.stop()
        if not (status or options.folder):
            shutil.rmtree(folder)  # nothing in it is of interest
        return status
    except PostgresUnavailable as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 130


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


def _prepare_folder(wanted: Path | None) -> Path:
    if wanted is None:
        return Path(tempfile.mkdtemp(prefix="satsuma-soak-"))
    if wanted.exists() and any(wanted.iterdir()):
        sys.exit(f"{wanted} is not empty. Give the soak test an empty or a new folder.")
    wanted.mkdir(parents=True, exist_ok=True)
    return wanted.resolve()


def _run(options: argparse.Namespace, folder: Path, database: PostgresServer) -> int:
    environment = _build_environment(database)
    os.environ.clear()
    os.environ.update(environment | {"LOG_LEVEL": "CRITICAL"})
    import django

    django.setup()
    from tests.soak.mail_server import MailServerUnavailable
    from tests.soak.report import run

    try:
        print(f"Data, logs and history: {folder}", flush=True)
        return run(
            seed=options.seed, orders=options.orders, mode=options.mode, engine=options.engine, buyers=options.buyers,
            folder=folder, database=database, environment=environment,
        )  # fmt: skip
    except (MailServerUnavailable, ValkeyUnavailable) as error:
        print(error, file=sys.stderr)
        return 2


def _build_environment(database: PostgresServer) -> dict[str, str]:
    """Build the environment of the shop. Holds are short, so that abandoned orders are final before the settle timeout."""
    kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    return kept | {
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "SECRET_KEY": keys.generate_secret_key(),
        "JWT_SIGNING_KEY": keys.generate_signing_key(),
        "DATABASE_URL": database.url,
        "DATABASE_PREFIX": DATABASE_PREFIX,
        "PASSWORD_HASHERS": "django.contrib.auth.hashers.MD5PasswordHasher",
        "ACCESS_TOKEN_SECONDS": "36000",
        "RESERVATION_HOLD_SECONDS": "10",
        "ON_HOLD_SECONDS": "10",
        "RECONCILE_SECONDS": "0.5",
        "RATE_LIMITS": "false",  # all buyers have one address
        "EMAIL_HOST": "127.0.0.1",
        "EMAIL_TIMEOUT_SECONDS": "2",
        "EMAIL_DATA_TIMEOUT_SECONDS": "2",
        "EMAIL_MAX_UNKNOWN_OUTCOMES": "100",  # the mail server hangs and disconnects for longer than a real one
        "EMAIL_UNKNOWN_OUTCOME_PAUSE_SECONDS": "0.1",
        "LOG_FORMAT": "json",
    }


if __name__ == "__main__":
    sys.exit(main())
