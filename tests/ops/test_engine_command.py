"""`manage.py engine` runs an engine in a separate process until it is stopped."""

import os
import signal
import subprocess
import sys

import pytest
from django.conf import settings

from tests.concurrency import eventually


@pytest.fixture
def engine(tmp_path):
    """Start an engine; yields its process and its log file."""
    log = tmp_path / "log"
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "engine"], cwd=settings.BASE_DIR, env=os.environ | {"LOG_LEVEL": "INFO"},
            stdout=file, stderr=file,
        )  # fmt: skip
    eventually(lambda: '"engine_started"' in log.read_text())
    yield process, log
    process.kill()
    process.wait()


def test_an_engine_stops_after_repeated_stop_signals(engine):
    process, log = engine
    for _ in range(2000):
        process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert '"engine_stopped"' in log.read_text()


def test_an_engine_stops_on_ctrl_c(engine):
    process, _ = engine
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0
