"""`python -m config.soak`: a shop of its own, from an empty folder, that nothing outside is touched by.

It starts its own PostgreSQL, whatever DATABASE_URL says, and takes nothing of the environment but what programs need.
"""

import argparse
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from config import keys
from config.embedded import NoPostgres, Server
from config.soak.plan import ENGINES, MODES
from config.valkey import NoValkey

KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "TRANSPORT")
PREFIX = "test_soak"


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("chaos run", description="Buy from a shop that keeps breaking, and audit it.")
    add_arguments(parser)
    return parser.parse_args(arguments)


def add_arguments(parser: Any) -> None:
    """What may be said on the command line."""
    parser.add_argument("--seed", type=int, help="the same seed makes the same schedule (default: a new one)")
    parser.add_argument("--orders", type=_count, default=200, help="how many (default: 200)")
    parser.add_argument(
        "--mode", choices=tuple(MODES), default="monolith", help="one shop, or five with a context each (default: monolith)"
    )
    parser.add_argument(
        "--engine", choices=ENGINES, default="embedded", help="celery: with workers, beat and a broker (default: embedded)"
    )
    parser.add_argument("--buyers", type=_count, default=16, help="how many at a time (default: 16)")
    parser.add_argument(
        "--folder",
        type=Path,
        help="where data, logs and history are kept (default: a temporary one, removed if all is well)",
    )


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 1 up")
    return int(text)


def main() -> int:
    wanted = parse()
    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, _interrupt)
    folder = _folder(wanted.folder)
    try:
        database = Server(folder, durable=False)  # processes are killed here, not the machine
        database.start()
        try:
            status = _run(wanted, folder, database)
        finally:
            database.stop()
        if not (status or wanted.folder):
            shutil.rmtree(folder)  # nothing in it that anybody would want to see
        return status
    except NoPostgres as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 130


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


def _folder(wanted: Path | None) -> Path:
    if wanted is None:
        return Path(tempfile.mkdtemp(prefix="satsuma-soak-"))
    if wanted.exists() and any(wanted.iterdir()):
        sys.exit(f"{wanted} is not empty; a soak begins with a folder of its own")
    wanted.mkdir(parents=True, exist_ok=True)
    return wanted.resolve()


def _run(wanted: argparse.Namespace, folder: Path, database: Server) -> int:
    environment = _environment(database)
    os.environ.clear()
    os.environ.update(environment | {"LOG_LEVEL": "CRITICAL"})
    import django

    django.setup()
    from config.soak.mail import NoMailServer
    from config.soak.report import run

    try:
        print(f"Its data, logs and history are in {folder}", flush=True)
        return run(
            seed=wanted.seed, orders=wanted.orders, mode=wanted.mode, engine=wanted.engine, folder=folder, database=database,
            environment=environment, buyers=wanted.buyers,
        )  # fmt: skip
    except (NoMailServer, NoValkey) as error:
        print(error, file=sys.stderr)
        return 2


def _environment(database: Server) -> dict[str, str]:
    """The shop's: short holds, so that what is given up is so within the time for coming to rest."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    return kept | {
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "SECRET_KEY": keys.secret_key(),
        "JWT_SIGNING_KEY": keys.signing_key(),
        "DATABASE_URL": database.url,
        "DATABASE_PREFIX": PREFIX,
        "PASSWORD_HASHERS": "django.contrib.auth.hashers.MD5PasswordHasher",
        "ACCESS_TOKEN_SECONDS": "36000",
        "RESERVATION_HOLD_SECONDS": "10",
        "ON_HOLD_SECONDS": "10",
        "RECONCILE_SECONDS": "0.5",
        "EMAIL_HOST": "127.0.0.1",
        "EMAIL_TIMEOUT_SECONDS": "2",
        "LOG_FORMAT": "json",
    }


if __name__ == "__main__":
    sys.exit(main())
