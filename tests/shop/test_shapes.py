"""Types that threads decode for the first time at the same moment: in a process of its own, since it may not survive."""

import signal
import subprocess
import sys

import pytest
from django.conf import settings

CROWD = """
import json, sys, threading
from typing import Annotated
import django
django.setup()
import msgspec
from shop import events, rest

class Request:
    def __init__(self, body):
        self._request, self.body = self, body

def at_once(do):
    barrier = threading.Barrier(8)
    def run():
        barrier.wait()
        do()
    threads = [threading.Thread(target=run) for _ in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]

def post(view, request, body):
    pass

def handle(event):
    pass

handle.__module__ = "contexts.orders.handlers"
given = {f"field{k}": {f"field{j}": 1 for j in range(30)} for k in range(20)}
body = json.dumps(given).encode()
sys.setswitchinterval(1e-6)
for n in range(200):
    inner = msgspec.defstruct("Inner", [(f"field{k}", Annotated[int, msgspec.Meta(ge=0)]) for k in range(30)])
    class Body(msgspec.Struct):
        __annotations__ = {f"field{k}": inner for k in range(20)}
    class Fact(events.Event, name=f"orders.fact_{n}", version=1, stream="orders.order:{field0}"):
        __annotations__ = {f"field{k}": inner for k in range(20)}
    DECLARED
    at_once(lambda: ASKED)
"""
DECODED = {
    "rest.endpoint(who=rest.ANYONE, body=Body, answers={200: None})(post)": "rest.read_body(Request(body), Body)",
    "events.on(Fact)(handle)": "msgspec.convert(given, type=Fact, strict=False)",
}


def status(declared, asked):
    script = CROWD.replace("DECLARED", declared).replace("ASKED", asked)
    return subprocess.run([sys.executable, "-c", script], cwd=settings.BASE_DIR, capture_output=True).returncode


@pytest.mark.parametrize(("declared", "asked"), DECODED.items(), ids=["endpoint", "handler"])
def test_what_is_declared_is_known_before_the_first_thread_asks(declared, asked):
    assert status(declared, asked) == 0


@pytest.mark.parametrize("asked", DECODED.values(), ids=["endpoint", "handler"])
def test_negative_control_threads_that_ask_first_end_the_process(asked):
    assert status("pass", asked) == -signal.SIGSEGV
