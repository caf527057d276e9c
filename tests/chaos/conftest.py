"""What the sweep and the zombie share: the fork server and the mail server that its children talk to."""

import pytest

from tests.chaos.forkserver import ForkServer
from tests.notifications.postbox import Postbox


@pytest.fixture(scope="package")
def postbox():
    postbox = Postbox()
    postbox.start()
    yield postbox
    postbox.stop()


@pytest.fixture(scope="package")
def server(postbox):
    server = ForkServer(EMAIL_PORT=str(postbox.port), RECONCILE_SECONDS="0.2")
    yield server
    server.stop()


@pytest.fixture(autouse=True)
def here(in_one_process):
    """Faults strike the process in which they are armed, so all that is called is in it."""
