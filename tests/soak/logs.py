"""The logs of the shop's processes: outages are expected in a soak test, any other error is a bug."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PROCESS_KINDS = ("web", "internal", "engine", "worker", "beat")
EXPECTED_LINE_PREFIXES = (
    "[ERROR] Unexpected exit from worker",  # of a web server that is killed together with its worker
    "worker: Warm shutdown",  # Celery after SIGTERM
    "The worker has ended with status 75, and is started again.",  # the watchdog ended it
)
# Celery logs these errors of its broker with a traceback.
BROKER_ERROR_PREFIXES = ("redis.exceptions.ConnectionError:", "redis.exceptions.TimeoutError:", "ConnectionResetError:")


def find_unexpected_lines(folder: Path) -> Iterator[tuple[str, str]]:
    """Find exceptions that are no outages, and lines that are not in the log format: pairs of process and line."""
    for name, line, entry in _read_lines(folder):
        if entry is None or ("exception" in entry and not _is_broker_outage(entry)):
            yield name, line


def count_events(folder: Path) -> dict[str, int]:
    """Count the log entries by event; those of Celery, whose messages contain numbers, by logger."""
    counts = Counter(_get_event_name(entry) for _, _, entry in _read_lines(folder) if entry)
    return dict(sorted(counts.items()))


def _read_lines(folder: Path) -> Iterator[tuple[str, str, dict[str, Any] | None]]:
    for path in sorted(path for kind in PROCESS_KINDS for path in folder.glob(f"{kind}-*.log")):
        for line in path.read_text(errors="replace").splitlines():
            if line and not line.startswith(EXPECTED_LINE_PREFIXES):
                yield path.stem, line, _decode(line)


def _get_event_name(entry: dict[str, Any]) -> str:
    logger = str(entry.get("logger", ""))
    return logger if logger.startswith(("celery.", "py.warnings")) else str(entry["event"])


def _is_broker_outage(entry: dict[str, Any]) -> bool:
    return _get_event_name(entry).startswith("celery.") and entry["exception"].strip().splitlines()[-1].startswith(
        BROKER_ERROR_PREFIXES
    )


def _decode(line: str) -> dict[str, Any] | None:
    try:
        return json.loads(line)
    except ValueError:
        return None
