"""The parent of the process tree: what it refuses, whom it collects, and when it ends."""

import os
import subprocess
import sys

import pytest
from django.conf import settings

from tests.config.trees import children, serve
from tests.threads import eventually

# Ends well if a grandchild, once its parent has ended, becomes the child of whoever started this, and is collected.
LEAVES_AN_ORPHAN = """
import os, sys, time
reader, writer = os.pipe()
child = os.fork()
if not child:
    me = os.getpid()
    if not os.fork():
        while os.getppid() == me:
            time.sleep(0.01)
        os.write(writer, f"{os.getpid()} {os.getppid()}".encode())
    os._exit(0)
os.waitpid(child, 0)
orphan, parent = os.read(reader, 100).decode().split()
if int(parent) != os.getppid():
    sys.exit(3)
deadline = time.monotonic() + 10
while os.path.exists(f"/proc/{orphan}"):
    if time.monotonic() > deadline:
        sys.exit(4)
    time.sleep(0.01)
"""
IN_A_TREE = "import sys; from config.serve import Tree; sys.exit(Tree().run(sys.argv[1:]))"


def status_of(*command: str) -> int:
    return subprocess.run(command, cwd=settings.BASE_DIR, timeout=60, check=False).returncode


def test_an_orphan_is_adopted_and_collected():
    assert status_of(sys.executable, "-c", IN_A_TREE, sys.executable, "-c", LEAVES_AN_ORPHAN) == 0


def test_a_parent_that_does_not_ask_for_orphans_gets_none():
    """The control."""
    assert status_of(sys.executable, "-c", LEAVES_AN_ORPHAN) == 3


def test_what_a_command_says_at_its_end_is_handed_on():
    assert status_of(sys.executable, "-c", IN_A_TREE, "sh", "-c", "exit 7") == 7
    assert status_of(sys.executable, "-c", IN_A_TREE, "sh", "-c", "kill -9 $$") == 137


def test_whoever_stays_behind_in_the_group_is_ended_with_it():
    stays = "trap '' HUP; sleep 600 & echo $!"
    tree = subprocess.Popen([sys.executable, "-c", IN_A_TREE, "sh", "-c", stays], cwd=settings.BASE_DIR, stdout=subprocess.PIPE)
    said = tree.communicate(timeout=60)[0]  # ends when nobody has the pipe any more
    assert tree.returncode == 0
    with pytest.raises(ProcessLookupError):
        os.kill(int(said), 0)


def test_asked_to_stop_while_it_prepares_it_does_not_begin_to_serve():
    tree = serve(os.environ | {"PORT": "1"})
    eventually(lambda: children(tree.pid))
    tree.terminate()
    assert tree.wait(40) == 128 + 15


LOADS = """
import multiprocessing, signal, sys
def load():
    import config.wsgi
    sys.exit(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)
signal.signal(signal.SIGTERM, lambda *_: None)
worker = multiprocessing.get_context("fork").Process(target=load, name=sys.argv[1])
worker.start()
worker.join()
sys.exit(worker.exitcode)
"""


@pytest.mark.parametrize(("name", "may_be_stopped"), [("granian-worker", True), ("the control", False)])
def test_a_worker_may_be_stopped_while_it_loads(name, may_be_stopped):
    assert bool(status_of(sys.executable, "-c", LOADS, name)) == may_be_stopped


@pytest.mark.parametrize(
    ("sentence", "environment"),
    [
        ("WEB_WORKERS is 'two'; it has to be a number from 1 to 64", {"WEB_WORKERS": "two"}),
        ("PORT is '65536'; it has to be a number from 1 to 65535", {"PORT": "65536"}),
        ("DRAIN_SECONDS is '-1'; it has to be a number from 0 to 600", {"DRAIN_SECONDS": "-1"}),
        ("MIGRATE_ON_START is 'maybe'; it can be true, false", {"MIGRATE_ON_START": "maybe"}),
        ("SECRET_KEY is shorter than 32 characters", {"SECRET_KEY": "short"}),
        ("names no proxy that ends TLS", {"SITE_URL": "https://shop.example"}),
    ],
)
def test_a_wrong_value_ends_it_with_a_sentence_before_it_serves(sentence, environment):
    tree = serve(os.environ | environment, stderr=subprocess.PIPE, text=True)
    said = tree.communicate(timeout=60)[1]
    assert tree.returncode in (1, 2)
    assert sentence in said
    assert "Traceback" not in said
