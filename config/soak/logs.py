"""The logs of the shop's processes: outages are their daily bread here, anything else is a mistake of the shop."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

KINDS = ("web", "internal", "engine", "worker", "beat")
SAID = (
    "[ERROR] Unexpected exit from worker",  # the web server's last words, where its worker is dead a moment before it
    "worker: Warm shutdown",  # Celery's, on SIGTERM
    "The worker has ended with status 75, and is started again.",  # its watchdog has barked
)
# What Celery tells of its broker with a traceback.
AWAY = ("redis.exceptions.ConnectionError:", "redis.exceptions.TimeoutError:", "ConnectionResetError:")


def mistakes(folder: Path) -> Iterator[tuple[str, str]]:
    """Process and line of each exception that was no outage, and of whatever is not one of the shop's own lines."""
    for name, line, said in _lines(folder):
        if said is None or ("exception" in said and not _tells_of_the_broker(said)):
            yield name, line


def counts(folder: Path) -> dict[str, int]:
    """How often the processes said what; of Celery, whose sentences have numbers in them, which part of it spoke."""
    said = Counter(_topic(said) for _, _, said in _lines(folder) if said)
    return dict(sorted(said.items()))


def _lines(folder: Path) -> Iterator[tuple[str, str, dict[str, Any] | None]]:
    for path in sorted(path for kind in KINDS for path in folder.glob(f"{kind}-*.log")):
        for line in path.read_text(errors="replace").splitlines():
            if line and not line.startswith(SAID):
                yield path.stem, line, _decoded(line)


def _topic(said: dict[str, Any]) -> str:
    speaker = str(said.get("logger", ""))
    return speaker if speaker.startswith(("celery.", "py.warnings")) else str(said["event"])


def _tells_of_the_broker(said: dict[str, Any]) -> bool:
    return _topic(said).startswith("celery.") and said["exception"].strip().splitlines()[-1].startswith(AWAY)


def _decoded(line: str) -> dict[str, Any] | None:
    try:
        return json.loads(line)
    except ValueError:
        return None
