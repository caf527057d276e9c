"""Stop a worker of the HTTP server whose parents have been killed, so that it does not keep the port from their successors."""

import os
import signal
import threading
import time

import structlog

# Set by ops/launch/process_tree.py, which adopts the workers of a server that is killed.
TREE_VARIABLE = "PROCESS_TREE_PID"
CHECK_INTERVAL_SECONDS = 1.0

log = structlog.get_logger(__name__)


def watch_parents() -> None:
    """Start a thread that stops this process when neither its parent nor the process tree that adopts it runs."""
    parents = (os.getppid(), int(os.environ.get(TREE_VARIABLE, "0")))
    threading.Thread(target=_stop_without, args=[parents], name="parents", daemon=True).start()


def _stop_without(parents: tuple[int, int]) -> None:
    while os.getppid() in parents:
        time.sleep(CHECK_INTERVAL_SECONDS)
    log.warning("parent_process_lost", parents=parents)
    os.kill(os.getpid(), signal.SIGTERM)
