"""The logs of the shop's processes: outages are their daily bread here, anything else is a mistake of the shop."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

KINDS = ("web", "internal", "engine")
KILLED = (
    "[ERROR] Unexpected exit from worker"  # the web server's last words, where its worker is dead a moment before it
)


def mistakes(folder: Path) -> Iterator[tuple[str, str]]:
    """Process and line of each exception that was no outage, and of whatever is not one of the shop's own lines."""
    for name, line, said in _lines(folder):
        if said is None or "exception" in said:
            yield name, line


def counts(folder: Path) -> dict[str, int]:
    """How often the processes said what."""
    said = Counter(str(said["event"]) for _, _, said in _lines(folder) if said)
    return dict(sorted(said.items()))


def _lines(folder: Path) -> Iterator[tuple[str, str, dict[str, Any] | None]]:
    for path in sorted(path for kind in KINDS for path in folder.glob(f"{kind}-*.log")):
        for line in path.read_text(errors="replace").splitlines():
            if not line.startswith(KILLED):
                yield path.stem, line, _decoded(line)


def _decoded(line: str) -> dict[str, Any] | None:
    try:
        return json.loads(line)
    except ValueError:
        return None
