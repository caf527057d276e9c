"""A fork server of the split: it hosts one context, and its child answers the other contexts' processes, and does as told.

One job is one line of JSON on its standard input, or on the child's; the answer is one line too. A child that is killed
in the middle of a job, or of answering somebody else, leaves no answer.
"""

import gc
import json
import os
import sys
import threading
from typing import Any, TextIO
from urllib.parse import urlsplit

from django.core.servers.basehttp import ThreadedWSGIServer
from django.db import connections

import config.urls  # noqa: F401  everything that a child would have to import
from config import faults
from contexts.payments import providers
from shop import inbox, leases, remote, services
from shop.database import hosted
from shop.engine import Engine
from tests.chaos.flows import ByHand, Purchase, order
from tests.shop.wire import Quiet
from tests.shopper import InProcess


class Child:
    """The process that is the context, as the fork server sees it. There is one at a time."""

    def __init__(self, pid: int, reading: TextIO, writing: TextIO) -> None:
        self.pid, self.reading, self.writing = pid, reading, writing

    def tell(self, **job: Any) -> Any:
        """What it says to a job; None where it is dead, or has died of it."""
        try:
            self.writing.write(json.dumps(job) + "\n")
            self.writing.flush()
            said = self.reading.readline()
        except BrokenPipeError:
            return None
        return json.loads(said) if said else None

    def end(self) -> int:
        """Let it end. The signal that it died of, 0 for none."""
        for pipe in (self.writing, self.reading):
            try:
                pipe.close()
            except BrokenPipeError:
                continue
        _, status = os.waitpid(self.pid, 0)
        return os.WTERMSIG(status)


def serve() -> None:
    """Do one job after the other, until there are no more."""
    services.bind_all()
    providers.find("sandbox")
    InProcess().post("orders", {})  # where it is hosted it is refused, and all that a request needs is loaded
    assert all(connections[context].connection is None for context in hosted())
    gc.collect()
    gc.freeze()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # logs go to standard output
    print(json.dumps("ready"), file=answers, flush=True)
    child: Child | None = None
    for line in sys.stdin:
        job = json.loads(line)
        if job["do"] == "begin":
            child = _fork(job["chaos"], job["record"])
            said = child.tell(do="ready")
        else:
            said = child.end() if job["do"] == "end" else child.tell(**job)
        print(json.dumps(said), file=answers, flush=True)


def _fork(chaos: str, record: str) -> Child:
    to_child, from_parent = os.pipe()
    to_parent, from_child = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(from_parent)
        os.close(to_parent)
        try:
            _live(os.fdopen(to_child), os.fdopen(from_child, "w"), chaos, record)
        finally:  # it must not go on as if it were the server
            os._exit(1)
    os.close(to_child)
    os.close(from_child)
    return Child(pid, os.fdopen(to_parent), os.fdopen(from_parent, "w"))


def _live(jobs: TextIO, answers: TextIO, chaos: str, record: str) -> None:
    gc.disable()
    rules = faults.arm(chaos, record=record)
    _answer_the_others()
    hand = ByHand()
    does = {
        "ready": lambda: True,
        "order": lambda purchase: order(Purchase(**purchase)),
        "turn": hand.turn,
        "struck": lambda: all(rule.hits >= rule.nth for rule in rules),
        "engine": lambda: Engine().start(),
        "by_hand": _renew_nothing,
    }
    for line in jobs:
        job = json.loads(line)
        answers.write(json.dumps(does[job.pop("do")](**job)) + "\n")
        answers.flush()
    os._exit(0)


def _renew_nothing() -> None:
    """It lives for less than a lease, and what it passes is not to depend on how fast it is."""
    leases.RENEWAL = 3600.0


def _answer_the_others() -> None:
    """At its internal address, each connection in a thread of its own."""
    address = urlsplit(os.environ[f"{hosted()[0].upper()}_URL"])
    server = ThreadedWSGIServer((address.hostname, address.port), Quiet)
    server.daemon_threads = True
    server.set_app(remote.application(services.served(hosted()) | inbox.served(hosted())))
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
