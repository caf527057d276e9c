"""Fixtures: the fork server, and the mail server that its children use."""

import pytest

from tests.chaos.forkserver import ForkServer
from tests.mail_server import FakeMailServer


@pytest.fixture(scope="package")
def mail_server():
    mail_server = FakeMailServer()
    mail_server.start()
    try:
        yield mail_server
    finally:
        mail_server.stop()


@pytest.fixture(scope="package")
def server(mail_server):
    server = ForkServer(
        EMAIL_PORT=str(mail_server.port), RECONCILE_SECONDS="0.2", EMAIL_UNKNOWN_OUTCOME_PAUSE_SECONDS="0.1"
    )
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(autouse=True)
def run_in_test_process(in_one_process):
    """Run everything in the test process: a fault takes effect only in the process in which it is armed."""
