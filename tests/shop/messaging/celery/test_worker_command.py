"""The worker command: invalid configurations, restarts, and stopping."""

import os
import signal
import subprocess
import sys

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from shop.messaging.celery.app import app
from shop.messaging.celery.checks import check_broker_url, check_conflicting_broker_variables
from tests.concurrency import eventually
from tests.process_trees import find_child_pids
from tests.shop.messaging.celery.brokers import BrokerProxy
from tests.shop.messaging.celery.conftest import DISABLED_INTERVAL, Worker

CELERY = {"ENGINE": "celery", "BROKER_URL": "redis://127.0.0.1:9/0"}


def test_an_invalid_worker_is_not_restarted():
    done = subprocess.run(
        [sys.executable, "-m", "ops.launch.worker", "shipping"],
        cwd=settings.BASE_DIR,
        env=os.environ | CELERY,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    assert "shipping: not hosted here; CONTEXTS is inventory, notifications, orders" in done.stderr
    assert "is started again" not in done.stderr


def test_the_celery_engine_requires_a_broker_url(settings):
    settings.ENGINE = "celery"
    [error] = check_broker_url()
    assert (error.id, "set BROKER_URL to the address" in error.msg) == ("config.E007", True)


def test_a_worker_requires_the_celery_engine():
    with pytest.raises(CommandError, match="ENGINE is none; a worker is for ENGINE=celery"):
        call_command("worker")


@pytest.mark.parametrize("name", ["CELERY_BROKER_URL", "CELERY_BROKER_READ_URL", "CELERY_BROKER_WRITE_URL"])
def test_a_broker_set_past_our_settings_is_refused(name, settings, monkeypatch):
    """Celery prefers these environment variables to its configuration, as its connections show."""
    monkeypatch.setenv(name, "redis://elsewhere:6379/0")
    assert "elsewhere" in {app.connection_for_read().hostname, app.connection_for_write().hostname}
    assert check_conflicting_broker_variables() == []
    settings.ENGINE = "celery"
    [error] = check_conflicting_broker_variables()
    assert (error.id, error.msg.split()[0]) == ("config.E008", name)


def test_a_worker_that_exits_is_restarted_unless_its_parent_is_stopping(tmp_path):
    """The parent restarts it for any cause and exit status."""
    worker = Worker(
        tmp_path, os.environ | CELERY | {"LOG_LEVEL": "INFO"}, "users", command=("-m", "ops.launch.worker")
    ).start()
    try:
        eventually(lambda: worker.has_logged("Trying again in"))  # its signal handlers are set by now
        for number, status in ((signal.SIGTERM, 0), (signal.SIGKILL, 137)):
            [child] = eventually(lambda: find_child_pids(worker.process.pid))
            os.kill(child, number)
            eventually(
                lambda status=status: worker.has_logged(f"status {status}, and is started again"),
            )
        assert worker.stop() == 0
        # The second worker is usually killed before its engine starts, and the third is never started.
        assert worker.read_log().count('"engine_started"') <= 2
    finally:
        worker.kill()


STOP_WITH_SILENT_BROKER = """
import os, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
import django
from django.core.management import execute_from_command_line
django.setup()
from ops.management.commands import worker
worker.STOP_TIMEOUT_SECONDS = 0.5
execute_from_command_line(["manage.py", "worker", *sys.argv[1:]])
"""


def test_a_worker_stops_although_its_broker_does_not_respond(server, tmp_path):
    proxy = BrokerProxy(server.port, is_dead=True)
    url = server.url.replace(str(server.port), str(proxy.port))
    environment = os.environ | CELERY | {"BROKER_URL": url, "LOG_LEVEL": "INFO", "WATCHDOG_SECONDS": DISABLED_INTERVAL}
    worker = Worker(tmp_path, environment, "users", command=("-c", STOP_WITH_SILENT_BROKER)).start()
    try:
        eventually(lambda: worker.has_logged('"engine_started"') and proxy.open_connections)
        assert worker.stop() == 0
        assert '"engine_stopped"' in worker.read_log()
    finally:
        worker.kill()
        proxy.close()
