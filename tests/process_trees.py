"""Start and kill process trees, and find the processes in them."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from typing import Any

from django.conf import settings

from ops.launch.split import select_secrets
from tests.soak.workers import find_child_pids

__all__ = [
    "START_TIMEOUT_SECONDS",
    "STOP_TIMEOUT_SECONDS",
    "find_child_pids",
    "kill_process_tree",
    "select_secrets",
    "start_process_tree",
]

# They only limit how long a broken test takes: a loaded machine needs many times what an idle one does.
START_TIMEOUT_SECONDS = 180.0
STOP_TIMEOUT_SECONDS = 90.0


def start_process_tree(environment: dict[str, str], **options: Any) -> subprocess.Popen:
    """Start the command that the image runs; `options` are those of Popen."""
    command = [sys.executable, "-m", "ops.launch.serve"]
    return subprocess.Popen(command, cwd=settings.BASE_DIR, env=environment, **options)


def kill_process_tree(process: subprocess.Popen) -> None:
    """Kill a process tree: its parent, and each server with its workers, which are a process group."""
    servers = find_child_pids(process.pid)
    process.kill()
    for group in servers:
        with suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)
    process.wait()
