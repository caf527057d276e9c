"""Types that several threads decode first at the same time: tested in a subprocess, because it may crash."""

import signal
import subprocess
import sys

import pytest
from django.conf import settings

CONCURRENT_DECODING = """
import json, sys, threading
from typing import Annotated
import django
django.setup()
import msgspec
from shop.http import reading, rest
from shop.messaging import events

class Request:
    def __init__(self, body):
        self._request, self.body = self, body

def run_concurrently(function):
    barrier = threading.Barrier(8)
    def run():
        barrier.wait()
        function()
    threads = [threading.Thread(target=run) for _ in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]

def post(view, request, body):
    pass

def handle(event):
    pass

handle.__module__ = "contexts.orders.handlers"
values = {f"field{k}": {f"field{j}": 1 for j in range(30)} for k in range(20)}
body = json.dumps(values).encode()
sys.setswitchinterval(1e-6)
for n in range(200):
    fields = [(f"field{k}", Annotated[int, msgspec.Meta(ge=0)]) for k in range(30)]
    inner = msgspec.defstruct("Inner", fields, forbid_unknown_fields=True)
    class Body(reading.RequestBody):
        __annotations__ = {f"field{k}": inner for k in range(20)}
    class Example(events.Event, name=f"orders.example_{n}", version=1, stream="orders.order:{field0}"):
        __annotations__ = {f"field{k}": inner for k in range(20)}
    DECLARE
    run_concurrently(lambda: DECODE)
"""
DECODERS = {
    "rest.endpoint(access=rest.ANYONE, body=Body, responses={200: None})(post)": "rest.read_body(Request(body), Body)",
    "events.on(Example)(handle)": "msgspec.convert(values, type=Example, strict=False)",
}


def exit_status(declare, decode):
    script = CONCURRENT_DECODING.replace("DECLARE", declare).replace("DECODE", decode)
    return subprocess.run([sys.executable, "-c", script], cwd=settings.BASE_DIR, capture_output=True).returncode


@pytest.mark.parametrize(("declare", "decode"), DECODERS.items(), ids=["endpoint", "handler"])
def test_declared_types_are_prepared_before_threads_decode_them(declare, decode):
    assert exit_status(declare, decode) == 0


@pytest.mark.parametrize("decode", DECODERS.values(), ids=["endpoint", "handler"])
def test_control_threads_that_prepare_a_type_concurrently_crash_the_process(decode):
    assert exit_status("pass", decode) == -signal.SIGSEGV
