"""Workers that cannot be had, and web processes without a broker."""

import os
import subprocess
import sys

import pytest
from django.conf import settings

CELERY = {"ENGINE": "celery", "BROKER_URL": "redis://127.0.0.1:9/0"}


@pytest.mark.parametrize(
    ("arguments", "environment", "sentence"),
    [
        (("manage.py", "worker"), {}, "ENGINE is none; a worker is for ENGINE=celery"),
        (("-m", "config.worker", "shipping"), CELERY, "shipping: not hosted here; CONTEXTS is orders, inventory"),
        (("-m", "config.worker"), {"ENGINE": "celery"}, "BROKER_URL has to say where"),
    ],
)
def test_a_worker_that_cannot_be_had_is_not_started_again(arguments, environment, sentence):
    done = subprocess.run(
        [sys.executable, *arguments], cwd=settings.BASE_DIR, env=os.environ | environment, capture_output=True, text=True,
        check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode in (1, 2)
    assert sentence in done.stderr
    assert "is started again" not in done.stderr
