"""The local PostgreSQL stops and starts whatever state it is in."""

import os
import signal
from pathlib import Path

import psycopg
import pytest

from ops.launch.postgres import PostgresServer
from ops.launch.processes import find_processes_in
from tests.concurrency import eventually


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("server")


@pytest.fixture
def server(folder):
    server = PostgresServer(folder, durable=False)
    yield server
    server.stop()
    assert find_processes_in(server.data_folder) == []


def find_checkpointer(server: PostgresServer) -> int:
    return eventually(
        lambda: next(
            (pid for pid in find_processes_in(server.data_folder) if b"checkpointer" in read_command(pid)), None
        )
    )


def read_command(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def read_postmaster_pid(server: PostgresServer) -> int:
    return int(server.lock.read_text().split("\n")[0])


def is_answering(server: PostgresServer) -> bool:
    with psycopg.connect(server.url) as connection:
        return connection.execute("SELECT 1").fetchone() == (1,)


def test_a_server_that_hangs_while_it_shuts_down_is_replaced(server):
    """One of its processes does not exit, so that it waits for ever, and refuses clients."""
    server.start()
    os.kill(find_checkpointer(server), signal.SIGSTOP)
    hanging = read_postmaster_pid(server)
    os.kill(hanging, signal.SIGINT)  # a fast stop
    eventually(lambda: "stopping" in server.lock.read_text())
    server.start()
    assert is_answering(server)
    assert read_postmaster_pid(server) != hanging


def test_a_server_that_does_not_answer_is_replaced(server):
    server.start()
    frozen = read_postmaster_pid(server)
    os.kill(frozen, signal.SIGSTOP)
    server.start()
    assert is_answering(server)
    assert read_postmaster_pid(server) != frozen


def test_a_server_that_works_is_kept(server):
    server.start()
    before = read_postmaster_pid(server)
    server.start()
    assert read_postmaster_pid(server) == before


def test_a_fast_stop_that_hangs_is_followed_by_an_immediate_one(server, capfd):
    server.start()
    os.kill(find_checkpointer(server), signal.SIGSTOP)
    server.stop()
    assert not server.is_running()
    assert find_processes_in(server.data_folder) == []
    assert "PostgreSQL hangs, so it is stopped immediately" in capfd.readouterr().err
    server.start()
    assert is_answering(server)


def test_a_killed_server_is_started_again_and_a_stopped_one_is_not(server):
    server.start()
    assert not server.restart_after_kill(), "it runs"
    os.kill(find_checkpointer(server), signal.SIGSTOP)  # does not notice that its parent is killed
    server.kill()
    assert server.restart_after_kill()
    assert is_answering(server)
    server.stop()
    assert not server.restart_after_kill()
    assert not server.is_running()


def test_another_program_with_the_process_id_of_a_killed_server_is_left_alone(server):
    server.start()
    lock = server.lock.read_text()
    server.stop()
    server.lock.write_text(f"{os.getpid()}\n" + lock.partition("\n")[2])
    assert not server.is_running()
    server.start()
    assert is_answering(server)
