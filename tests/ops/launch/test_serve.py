"""The parent of the process tree rejects invalid settings, reaps orphans, and stops its descendants."""

import os
import subprocess
import sys

import pytest
from django.conf import settings

from tests.concurrency import eventually
from tests.process_trees import find_child_pids, start_process_tree

# Exits with 0 if a grandchild whose parent has exited becomes a child of the process that started this, and is reaped.
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
IN_A_TREE = "import sys; from ops.launch.process_tree import ProcessTree; sys.exit(ProcessTree().run(sys.argv[1:]))"


def status_of(*command: str) -> int:
    return subprocess.run(command, cwd=settings.BASE_DIR, timeout=60, check=False).returncode


def test_an_orphan_is_adopted_and_reaped():
    assert status_of(sys.executable, "-c", IN_A_TREE, sys.executable, "-c", LEAVES_AN_ORPHAN) == 0


def test_control_without_subreaper_orphans_are_not_adopted():
    assert status_of(sys.executable, "-c", LEAVES_AN_ORPHAN) == 3


def test_the_exit_status_of_a_command_is_passed_on():
    assert status_of(sys.executable, "-c", IN_A_TREE, "sh", "-c", "exit 7") == 7
    assert status_of(sys.executable, "-c", IN_A_TREE, "sh", "-c", "kill -9 $$") == 137


def test_remaining_processes_of_the_group_are_terminated():
    stays = "trap '' HUP; sleep 600 & echo $!"
    tree = subprocess.Popen(
        [sys.executable, "-c", IN_A_TREE, "sh", "-c", stays], cwd=settings.BASE_DIR, stdout=subprocess.PIPE
    )
    output = tree.communicate(timeout=60)[0]  # returns when no process has the pipe open any more
    assert tree.returncode == 0
    with pytest.raises(ProcessLookupError):
        os.kill(int(output), 0)


def test_a_stop_during_preparation_prevents_serving():
    tree = start_process_tree(os.environ | {"PORT": "1"})
    eventually(lambda: find_child_pids(tree.pid))
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
def test_a_worker_can_be_stopped_while_it_loads(name, may_be_stopped):
    assert bool(status_of(sys.executable, "-c", LOADS, name)) == may_be_stopped


@pytest.mark.parametrize(
    ("message", "environment"),
    [
        ("WEB_WORKERS is 'two'; it must be a number from 1 to 64", {"WEB_WORKERS": "two"}),
        ("PORT is '65536'; it must be a number from 1 to 65535", {"PORT": "65536"}),
        ("DRAIN_SECONDS is '-1'; it must be a number from 0 to 600", {"DRAIN_SECONDS": "-1"}),
        ("MIGRATE_ON_START is 'maybe'; it must be true or false", {"MIGRATE_ON_START": "maybe"}),
        ("SECRET_KEY is shorter than 32 characters", {"SECRET_KEY": "short"}),
        ("TRUSTED_PROXIES is empty", {"SITE_URL": "https://shop.example"}),
    ],
)
def test_an_invalid_value_stops_it_with_a_message_before_serving(message, environment):
    tree = start_process_tree(os.environ | environment, stderr=subprocess.PIPE, text=True)
    errors = tree.communicate(timeout=60)[1]
    assert tree.returncode in (1, 2)
    assert message in errors
    assert "Traceback" not in errors
