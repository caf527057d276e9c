"""Process trees: how they are started, and who is in them."""

import socket
import subprocess
import sys
from typing import Any

from django.conf import settings

from config.soak.workers import children

__all__ = ["children", "free_port", "serve"]


def serve(environment: dict[str, str], **more: Any) -> subprocess.Popen:
    """What the image runs."""
    return subprocess.Popen([sys.executable, "-m", "config.serve"], cwd=settings.BASE_DIR, env=environment, **more)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
