"""A fork server that hosts one context. Its child serves the calls of the other contexts and executes jobs.

One job is one line of JSON on its standard input, which it may pass on to the child; the result is one line too. A child
that is killed during a job or a call has no result.
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
from contexts.payments import providers
from shop.calls import services
from shop.calls.remote.server import create_application
from shop.chaos import faults
from shop.db import leases
from shop.db.database import hosted_contexts
from shop.messaging import inbox
from shop.messaging.engine import Engine
from tests.chaos.flows import Purchase, SteppedEngine, send_requests
from tests.shop.calls.servers import SilentRequestHandler
from tests.shopper import InProcessShopper


class Child:
    """The child process as the fork server sees it. There is one at a time."""

    def __init__(self, pid: int, reading: TextIO, writing: TextIO) -> None:
        self.pid, self.reading, self.writing = pid, reading, writing

    def send_job(self, **job: Any) -> Any:
        """Send a job and return its result; None if the child is dead, or dies of the job."""
        try:
            self.writing.write(json.dumps(job) + "\n")
            self.writing.flush()
            line = self.reading.readline()
        except BrokenPipeError:
            return None
        return json.loads(line) if line else None

    def end(self) -> int:
        """Let the child exit. Return the signal that killed it, or 0."""
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
    InProcessShopper().post("orders", {})  # refused where orders is hosted; loads everything that a request needs
    assert all(connections[context].connection is None for context in hosted_contexts())
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
            result = child.send_job(do="ready")
        else:
            result = child.end() if job["do"] == "end" else child.send_job(**job)
        print(json.dumps(result), file=answers, flush=True)


def _fork(chaos: str, record: str) -> Child:
    to_child, from_parent = os.pipe()
    to_parent, from_child = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(from_parent)
        os.close(to_parent)
        try:
            _run_child(os.fdopen(to_child), os.fdopen(from_child, "w"), chaos, record)
        finally:  # it must not continue as if it were the server
            os._exit(1)
    os.close(to_child)
    os.close(from_child)
    return Child(pid, os.fdopen(to_parent), os.fdopen(from_parent, "w"))


def _run_child(jobs: TextIO, answers: TextIO, chaos: str, record: str) -> None:
    gc.disable()
    rules = faults.arm(chaos, record=record)
    _serve_internal_calls()
    stepped_engine = SteppedEngine()
    jobs_by_name = {
        "ready": lambda: True,
        "order": lambda purchase: send_requests(Purchase(**purchase)),
        "run_once": stepped_engine.run_once,
        "is_hit": lambda: all(rule.hits >= rule.nth for rule in rules),
        "engine": lambda: Engine().start(),
        "disable_lease_renewal": _disable_lease_renewal,
    }
    for line in jobs:
        job = json.loads(line)
        answers.write(json.dumps(jobs_by_name[job.pop("do")](**job)) + "\n")
        answers.flush()
    os._exit(0)


def _disable_lease_renewal() -> None:
    """Disable the renewal of leases: the points that are reached must not depend on how fast the machine is."""
    leases.RENEWAL_INTERVAL_SECONDS = 3600.0


def _serve_internal_calls() -> None:
    """Serve the internal address of the context, with a thread for each connection."""
    address = urlsplit(os.environ[f"{hosted_contexts()[0].upper()}_URL"])
    server = ThreadedWSGIServer((address.hostname, address.port), SilentRequestHandler)
    server.daemon_threads = True
    server.set_app(
        create_application(services.get_served_methods(hosted_contexts()) | inbox.get_served_methods(hosted_contexts()))
    )
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
