"""Process trees: how they are started, and who is in them."""

import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from django.conf import settings


def serve(environment: dict[str, str], **more: Any) -> subprocess.Popen:
    """What the image runs."""
    return subprocess.Popen([sys.executable, "-m", "config.serve"], cwd=settings.BASE_DIR, env=environment, **more)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def children(pid: int) -> list[int]:
    """Process ids, from /proc."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            status = (process / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended meanwhile
        if int(status[1]) == pid and status[0] != "Z":
            found.append(int(process.name))
    return found
