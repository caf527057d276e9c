"""The check for leaks: a test that leaves a process, a thread or an open transaction behind fails, and the leak is ended."""

import os
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from tests import leaks
from tests.concurrency import eventually

PROCESS = """
import subprocess

def test_starts():
    subprocess.Popen(["sleep", "597"], start_new_session=True)

def test_after():
    pass
"""
THREAD = """
import threading

def test_starts():
    threading.Thread(target=threading.Event().wait, daemon=True, name="relay-orders").start()

def test_after():
    pass
"""
MODULE_FIXTURE = """
import subprocess
import pytest

@pytest.fixture(scope="module")
def server():
    process = subprocess.Popen(["sleep", "598"], start_new_session=True)
    yield process
    {end}

def test_uses(server):
    assert server.poll() is None

def test_uses_again(server):
    assert server.poll() is None
"""
TIDY = """
import subprocess, threading

def test_tidy():
    process = subprocess.Popen(["sleep", "599"])
    process.kill()
    process.wait()
    thread = threading.Thread(target=lambda: None)
    thread.start()
"""
# A session of another thread, which executes {statements} and is then left to itself.
SESSION = """
import os, threading
import psycopg

sessions = []

def work():
    sessions.append(psycopg.connect(os.environ["DATABASE_URL"], dbname=os.environ["DATABASE_PREFIX"] + "_orders"))
    {statements}

def test_starts():
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()

def test_after():
    pass
"""


@pytest.fixture
def run(tmp_path, preloaded_python):
    """Return a function that runs a file of tests with the plugin and returns exit status and output."""

    def run(text: str, **environment: str) -> tuple[int, str]:
        (tmp_path / "test_it.py").write_text(text)
        done = preloaded_python.run(
            "-m", "pytest", "-p", "no:cacheprovider", "-p", "tests.leaks",
            "-c", "/dev/null", "--rootdir", str(tmp_path), str(tmp_path / "test_it.py"),
            environment=os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"} | environment,  # a faster start
        )  # fmt: skip
        return done.returncode, done.stdout

    return run


def is_running(command: str) -> bool:
    return subprocess.run(["pgrep", "-f", f"^{command}$"], capture_output=True, check=False).returncode == 0


def test_a_process_that_is_left_behind_fails_its_test_and_is_ended(run):
    status, output = run(PROCESS)
    assert status == 1 and "the test left behind: process" in output and "sleep 597" in output
    assert "2 passed, 1 error" in output, "the next test is not blamed"
    eventually(lambda: not is_running("sleep 597"))


def test_a_thread_that_is_left_behind_fails_its_test(run):
    status, output = run(THREAD, LEAK_TIMEOUT_SECONDS="1")
    assert status == 1 and "the test left behind: thread relay-orders" in output and "2 passed, 1 error" in output


def test_the_process_of_a_wider_fixture_may_live_as_long_as_the_fixture(run):
    assert run(MODULE_FIXTURE.replace("{end}", "process.kill(), process.wait()"))[0] == 0


def test_a_fixture_that_does_not_end_its_process_is_reported_after_its_last_test(run):
    status, output = run(MODULE_FIXTURE.replace("{end}", "pass"))
    assert status == 1 and "sleep 598" in output
    assert re.search(r"ERROR .*test_it\.py::test_uses_again", output)


def test_a_transaction_that_is_left_open_fails_its_test_and_is_ended(run):
    status, output = run(SESSION.replace("{statements}", 'sessions[0].execute("SELECT 597")'), LEAK_TIMEOUT_SECONDS="1")
    assert status == 1 and "the test left behind: open transaction in " in output and "_orders: SELECT 597" in output
    assert "2 passed, 1 error" in output, "the next test is not blamed"
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as database:
        assert leaks.end_open_transactions(database) == []


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_control_a_session_without_a_transaction_may_stay(run, end):
    assert run(SESSION.replace("{statements}", f'sessions[0].execute("SELECT 598"); sessions[0].{end}()'))[0] == 0


def test_a_transaction_that_ends_in_time_is_no_leak(django_db_setup):
    """A server of a wider fixture can be between two statements when its test ends."""
    url, name = os.environ["DATABASE_URL"], f"{os.environ['DATABASE_PREFIX']}_orders"
    with psycopg.connect(url, autocommit=True) as database, psycopg.connect(url, dbname=name) as session:
        session.execute("SELECT 599")
        with ThreadPoolExecutor(1) as pool:
            found = pool.submit(leaks.end_open_transactions, database)
            session.commit()
            assert found.result() == []
        session.execute("SELECT 600")


def test_control_a_tidy_test_passes(run):
    assert run(TIDY)[0] == 0


RESTARTED = """
import os, subprocess
import pytest

class Server:
    def __init__(self):
        self.environment = {environment}
        self.start()

    def start(self):
        self.process = subprocess.Popen(["sleep", "596"], env=self.environment, start_new_session=True)

    def stop(self):
        self.process.kill()
        self.process.wait()

@pytest.fixture(scope="module")
def server():
    server = Server()
    yield server
    server.stop()

def test_restarts(server):
    server.stop()
    server.start()

def test_uses(server):
    assert server.process.poll() is None
"""


def test_a_test_may_restart_the_process_of_a_wider_fixture(run):
    assert run(RESTARTED.replace("{environment}", "dict(os.environ)"))[0] == 0


def test_control_a_process_that_a_test_starts_without_the_environment_of_the_fixture_is_a_leak(run):
    status, output = run(RESTARTED.replace("{environment}", "None"))
    assert status == 1 and "the test left behind: process" in output and "sleep 596" in output
