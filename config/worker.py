"""`python -m config.worker [context …]`: a worker of the Celery engine, started again whenever it ends unasked.

Standard library only, so that the parent stays small beside the worker. It works for the contexts that are named, of
those that the process hosts, or for all of them.
"""

import signal
import subprocess
import sys
import time

from config.serve import MANAGE, Tree

MISTAKEN = 2  # exit status: what was asked for cannot be had, however often
STOPPED_CONSUMING = 75  # exit status (EX_TEMPFAIL): start it again
ENDED = (0, STOPPED_CONSUMING, 128 + signal.SIGTERM)  # how a worker may end that was asked to, at whichever moment
LIVES = 2.0  # seconds; what ends sooner waits so long before it is started again


def main() -> int:
    tree = Tree()
    if (code := tree.run([sys.executable, str(MANAGE), "check"], output=subprocess.DEVNULL)) or tree.stopping:
        return _asked(code) if tree.stopping else code
    while True:
        began = time.monotonic()
        code = tree.run([sys.executable, str(MANAGE), "worker", *sys.argv[1:]])
        if tree.stopping:
            return _asked(code)
        if code == MISTAKEN:
            return code
        print(f"The worker has ended with status {code}, and is started again.", file=sys.stderr, flush=True)
        time.sleep(max(0.0, LIVES - (time.monotonic() - began)))
        if tree.stopping:
            return 0


def _asked(code: int) -> int:
    """The exit status of a worker that has been asked to end."""
    return 0 if code in ENDED else code


if __name__ == "__main__":
    sys.exit(main())
