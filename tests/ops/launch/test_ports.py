"""A second server on a port is refused, also while the first one is still starting."""

import os
import socket
import subprocess
import sys
import threading
from contextlib import closing, contextmanager

import pytest
from django.conf import settings

from config.contexts import ALL_CONTEXTS
from ops.launch.ports import PortUnavailable, claim_port
from ops.launch.split import INTERNAL_PORT_OFFSET, PUBLIC_PORT_OFFSET
from tests.ports import reserve_port
from tests.process_trees import start_process_tree

HOST = "127.0.0.1"


@contextmanager
def server_with_a_shared_port(port: int, host: str = HOST):
    """Listen like granian, whose workers share their port: with this option, others may listen on it too."""
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        server.bind((host, port))
        server.listen()
        yield server


def test_control_a_server_with_the_same_option_may_listen_too():
    port = reserve_port()
    with server_with_a_shared_port(port), server_with_a_shared_port(port):
        pass


@pytest.mark.parametrize("taken", [HOST, "0.0.0.0"])
def test_a_port_on_which_a_server_listens_is_refused(taken):
    port = reserve_port()
    with (
        server_with_a_shared_port(port, taken),
        pytest.raises(PortUnavailable, match=rf"Port {port} cannot be used \(Address already in use\)"),
    ):
        claim_port(HOST, port)
    claim_port(HOST, port).close()


def test_a_port_that_another_launcher_has_claimed_is_refused_until_it_ends():
    port = reserve_port()
    holds = f"from ops.launch.ports import claim_port; claim = claim_port({HOST!r}, {port}); print(flush=True); input()"
    other = subprocess.Popen(
        [sys.executable, "-c", holds], cwd=settings.BASE_DIR, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with other:
        other.stdout.readline()
        with pytest.raises(PortUnavailable):
            claim_port(HOST, port)
        other.kill()
    claim_port(HOST, port).close()


def test_the_holder_of_a_claim_can_start_its_servers():
    port = reserve_port()
    with closing(claim_port(HOST, port)), server_with_a_shared_port(port):
        pass


def test_a_former_server_may_take_a_moment_to_end():
    port = reserve_port()
    with server_with_a_shared_port(port) as former:
        threading.Timer(0.3, former.close).start()
        claim_port(HOST, port, wait_seconds=60).close()


def run_server(**environment: str) -> tuple[int, str]:
    tree = start_process_tree(os.environ | {"WEB_HOST": HOST} | environment, stderr=subprocess.PIPE, text=True)
    errors = tree.communicate(timeout=60)[1]
    return tree.returncode, errors


@pytest.mark.parametrize("name", ["PORT", "INTERNAL_PORT"])
def test_a_second_process_tree_on_a_port_is_refused(name):
    port = reserve_port()
    with server_with_a_shared_port(port):
        status, errors = run_server(**{"PORT": str(reserve_port()), name: str(port)})
    assert (status, errors) == (2, f"Port {port} cannot be used (Address already in use).\n")


def test_the_internal_server_needs_a_port_of_its_own():
    port = str(reserve_port())
    status, errors = run_server(PORT=port, INTERNAL_PORT=port)
    assert (status, errors) == (2, f"PORT and INTERNAL_PORT are both {port}; each server needs a port of its own\n")


@pytest.mark.parametrize("offset", [0, PUBLIC_PORT_OFFSET, INTERNAL_PORT_OFFSET + len(ALL_CONTEXTS) - 1])
def test_make_split_refuses_a_port_of_one_of_its_processes(tmp_path, offset):
    (tmp_path / "nginx").symlink_to("/bin/true")
    port = reserve_port()
    with server_with_a_shared_port(port + offset):
        done = subprocess.run(
            [sys.executable, "-m", "ops.launch.split"], capture_output=True, text=True, timeout=60, check=False,
            cwd=settings.BASE_DIR,
            env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "DATA_DIR": str(tmp_path / "data"), "PORT": str(port)},
        )  # fmt: skip
    assert done.returncode == 1
    assert f"Port {port + offset} cannot be used (Address already in use)" in done.stderr
    assert not (tmp_path / "data").exists()
