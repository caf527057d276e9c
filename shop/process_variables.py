"""Variables of the launchers (ops/launch), which the settings do not read. Standard library only, like the launchers."""

import os
from typing import NamedTuple


class ProcessVariable(NamedTuple):
    """A variable: its default as it is written in the environment, and its description."""

    default: str
    description: str


PROCESS_VARIABLES: dict[str, ProcessVariable] = {
    "PORT": ProcessVariable("8000", "Port of the shop."),
    "WEB_HOST": ProcessVariable("0.0.0.0", "Address that the server listens on. `make up` uses 127.0.0.1."),  # noqa: S104
    "WEB_WORKERS": ProcessVariable("2", "Number of processes. `make up` uses one."),
    "INTERNAL_PORT": ProcessVariable("", "Port for calls from the processes of other contexts, if there are any."),
    "INTERNAL_HOST": ProcessVariable("127.0.0.1", "Address for these calls. Clients must not be able to reach it."),
    "DRAIN_SECONDS": ProcessVariable(
        "0", "How long to keep serving, but not ready, after SIGTERM, so that gateways notice."
    ),
    "MIGRATE_ON_START": ProcessVariable("false", "Whether to migrate the databases before serving."),
    "STAFF_EMAIL": ProcessVariable(
        "staff@satsuma.example", "Staff account for the admin; its password is printed once, when it is created."
    ),
    "SEED_CATALOGUE": ProcessVariable("true", "Whether to create 257 example products in an empty shop."),
    "DATA_DIR": ProcessVariable(
        ".data", "Data folder of `make up`; `manage.py demo` reads the address of the shop from it."
    ),
    "MAIL_PORT": ProcessVariable("8025", "Port on which docker-compose.yml shows the e-mails."),
}


def count_server_processes() -> int:
    """Count the server processes of this container. A wrong WEB_WORKERS counts as the default; the launcher refuses it."""
    workers = os.environ.get("WEB_WORKERS") or ""
    count = int(workers if workers.isdecimal() else PROCESS_VARIABLES["WEB_WORKERS"].default)
    return max(1, count) + bool(os.environ.get("INTERNAL_PORT"))
