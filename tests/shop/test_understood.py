"""Types that several threads decode for the first time at once: read where they are declared, they crash nobody."""

import os
import signal
import subprocess
import sys

import pytest
from django.conf import settings

# 300 types, and for each of them eight threads that meet at its first use.
SCRIPT = """
import dataclasses, sys, threading
from typing import Annotated
import django, msgspec
django.setup()
from shop.events import Event, on
from shop.rest import ANYONE, endpoint, read_query
sys.setswitchinterval(1e-6)
how = sys.argv[1]

def declared(number):
    space = globals() | {"__name__": f"contexts.orders.planted{number}"}
    numbers = "".join(f"    f{k}: Annotated[int, msgspec.Meta(ge=0)]\\n" for k in range(30))
    texts = "".join(f"    s{k}: Annotated[str, msgspec.Meta(max_length=200)]\\n" for k in range(20))
    parts = "".join(f"    g{k}: Inner\\n" for k in range(3))
    exec(f"class Inner(msgspec.Struct):\\n{numbers}", space)
    if how in ("handler", "nowhere"):
        head = f"class Outer(Event, name='orders.planted_{number}', version=1, stream='orders.planted:{{g0}}')"
    else:
        head = "class Outer(msgspec.Struct)"
    exec(f"{head}:\\n{parts}{texts}", space)
    exec("def get(view, request): ...", space)
    if how == "handler":
        on(space["Outer"])(space["get"])
    elif how == "body":
        endpoint(who=ANYONE, body=space["Outer"], answers={200: None})(space["get"])
    elif how == "answer":
        endpoint(who=ANYONE, answers={200: list[space["Outer"]]})(space["get"])
    return space["Outer"]

facts = {f"g{k}": {f"f{j}": 1 for j in range(30)} for k in range(3)} | {f"s{k}": "x" for k in range(20)}

def use(type_, barrier):
    barrier.wait()
    msgspec.convert(facts, type=type_, strict=False)

for number in range(300):
    type_, barrier = declared(number), threading.Barrier(8)
    threads = [threading.Thread(target=use, args=(type_, barrier)) for _ in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
"""


def ended(how: str) -> int:
    command = [sys.executable, "-c", SCRIPT, how]
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "config.settings"}
    return subprocess.run(command, cwd=settings.BASE_DIR, env=environment, capture_output=True, check=False).returncode


@pytest.mark.parametrize("how", ["handler", "body", "answer"])
def test_a_type_that_is_declared_is_used_by_many_at_once(how):
    assert ended(how) == 0


def test_control_a_type_that_was_not_read_before_crashes_the_process():
    assert ended("nowhere") == -signal.SIGSEGV
