"""Run a worker of the Celery engine and restart it when it exits: `python -m ops.launch.worker [context …]`.

Standard library only, so that the parent uses little memory. The worker handles the named contexts of those that the
process hosts, or all of them.
"""

import signal
import subprocess
import sys
import time

from ops.launch.process_tree import ProcessTree
from ops.launch.serve import MANAGE_PATH, build_check_command

USAGE_ERROR_STATUS = 2  # exit status of a worker that cannot start with these arguments; it is not restarted
CONSUMER_STOPPED_STATUS = 75  # exit status (EX_TEMPFAIL) of a worker that asks for a restart
CLEAN_EXIT_STATUSES = (0, CONSUMER_STOPPED_STATUS, 128 + signal.SIGTERM)  # of a worker that was asked to stop
MIN_LIFETIME_SECONDS = 2.0  # a worker that exits sooner is restarted only after this time


def main() -> int:
    tree = ProcessTree()
    status = tree.run(build_check_command(), output=subprocess.DEVNULL)
    if status or tree.is_stopping:
        return _normalize_exit_status(status) if tree.is_stopping else status
    while True:
        started_at = time.monotonic()
        status = tree.run([sys.executable, str(MANAGE_PATH), "worker", *sys.argv[1:]])
        if tree.is_stopping:
            return _normalize_exit_status(status)
        if status == USAGE_ERROR_STATUS:
            return status
        print(f"The worker has ended with status {status}, and is started again.", file=sys.stderr, flush=True)
        time.sleep(max(0.0, MIN_LIFETIME_SECONDS - (time.monotonic() - started_at)))
        if tree.is_stopping:
            return 0


def _normalize_exit_status(status: int) -> int:
    """Return 0 for the statuses that a worker which was asked to stop may exit with."""
    return 0 if status in CLEAN_EXIT_STATUSES else status


if __name__ == "__main__":
    sys.exit(main())
