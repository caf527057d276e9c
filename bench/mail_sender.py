"""Send the e-mails that are due, in one process, each time a line arrives on stdin; then print seconds and CPU as JSON.

`bench.mail` runs this file with the code of any revision on the path, so it imports nothing of this package.
"""

import json
import sys
import time

import django


def send_all() -> dict[str, float]:
    """Send until no e-mail waits. Returns the seconds, and those of this process's CPU."""
    from contexts.notifications.service import sending
    from shop.db.database import fetch_rows

    waiting = "SELECT EXISTS (SELECT FROM notifications_message WHERE status = 'waiting')"
    began, cpu = time.monotonic(), time.process_time()
    while fetch_rows("notifications", waiting) == [(True,)]:
        sending.send_due()
    return {"seconds": time.monotonic() - began, "cpu": time.process_time() - cpu}


if __name__ == "__main__":
    django.setup()
    for _ in sys.stdin:
        print(json.dumps(send_all()), flush=True)
