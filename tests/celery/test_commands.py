"""Workers that cannot be had, and web processes without a broker."""

import os
import signal
import subprocess
import sys

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from config.celery import app
from config.checks import celery_has_a_broker, celery_has_one_broker
from tests.celery.brokers import Line
from tests.celery.conftest import NEVER, SOON, Worker
from tests.config.trees import children
from tests.threads import eventually

CELERY = {"ENGINE": "celery", "BROKER_URL": "redis://127.0.0.1:9/0"}


def test_a_worker_that_cannot_be_had_is_not_started_again():
    done = subprocess.run(
        [sys.executable, "-m", "config.worker", "shipping"], cwd=settings.BASE_DIR, env=os.environ | CELERY,
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    assert "shipping: not hosted here; CONTEXTS is orders, inventory" in done.stderr
    assert "is started again" not in done.stderr


def test_who_rings_has_to_know_where(settings):
    settings.ENGINE = "celery"
    [error] = celery_has_a_broker()
    assert (error.id, "BROKER_URL has to say where" in error.msg) == ("config.E007", True)


def test_a_worker_is_for_those_who_ring():
    with pytest.raises(CommandError, match="ENGINE is none; a worker is for ENGINE=celery"):
        call_command("worker")


@pytest.mark.parametrize("name", ["CELERY_BROKER_URL", "CELERY_BROKER_READ_URL", "CELERY_BROKER_WRITE_URL"])
def test_a_broker_of_which_our_settings_know_nothing_is_refused(name, settings, monkeypatch):
    """Celery asks the environment first, as its own address shows."""
    monkeypatch.setenv(name, "redis://elsewhere:6379/0")
    assert "elsewhere" in {app.connection_for_read().hostname, app.connection_for_write().hostname}
    assert celery_has_one_broker() == []
    settings.ENGINE = "celery"
    [error] = celery_has_one_broker()
    assert (error.id, error.msg.split()[0]) == ("config.E008", name)


def test_a_worker_that_ends_unasked_is_started_again_unless_its_parent_is_asked_to_stop_meanwhile(tmp_path):
    """Whoever told it to, and whatever its status."""
    worker = Worker(tmp_path, os.environ | CELERY | {"LOG_LEVEL": "INFO"}, "users", command=("-m", "config.worker")).start()
    try:
        eventually(lambda: worker.says("Trying again in"), patience=SOON)  # it knows how to end by now
        for number, status in ((signal.SIGTERM, 0), (signal.SIGKILL, 137)):
            [child] = eventually(lambda: children(worker.process.pid), patience=SOON)
            os.kill(child, number)
            eventually(lambda status=status: worker.says(f"status {status}, and is started again"), patience=SOON)
        assert worker.stop() == 0
        assert worker.said().count('"engine_started"') <= 2  # the second is mostly killed before, the third never begins
    finally:
        worker.kill()


IMPATIENT = """
import os, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
import django
from django.core.management import execute_from_command_line
django.setup()
from config.management.commands import worker
worker.PATIENCE = 0.5
execute_from_command_line(["manage.py", "worker", *sys.argv[1:]])
"""


def test_a_worker_ends_when_it_is_asked_to_although_its_broker_takes_connections_and_says_nothing(server, tmp_path):
    line = Line(server.port, dead=True)
    url = server.url.replace(str(server.port), str(line.port))
    environment = os.environ | CELERY | {"BROKER_URL": url, "LOG_LEVEL": "INFO", "WATCHDOG_SECONDS": NEVER}
    worker = Worker(tmp_path, environment, "users", command=("-c", IMPATIENT)).start()
    try:
        eventually(lambda: worker.says('"engine_started"') and line.open, patience=SOON)
        assert worker.stop() == 0
        assert '"engine_stopped"' in worker.said()
    finally:
        worker.kill()
        line.close()
