"""Everything that is documented as a way to run imports only what requirements/run.txt locks."""

import os
import re
import subprocess
import sys

import pytest
from django.conf import settings

from tests.ops.launch.locked_packages import read_locked_names

LOCK = settings.BASE_DIR / "requirements" / "run.txt"
COMMANDS = """
import django, importlib
django.setup()
from django.core.management import get_commands, load_command_class
for name, app in get_commands().items():
    load_command_class(app, name)
"""
CONSUMER = """
import django
django.setup()
from kombu.transport import get_transport_cls
from shop.messaging.celery.app import app, get_queue_name
app.Worker(queues=[get_queue_name("orders")], pool="threads", concurrency=1, quiet=True)
get_transport_cls("{}")
"""
LAUNCHERS = (
    "import ops.launch.keys, ops.launch.prepare, ops.launch.serve, ops.launch.split, ops.launch.up, ops.launch.worker"
)
CELERY = {"ENGINE": "celery", "BROKER_URL": "redis://127.0.0.1:1/0"}
WAYS = {
    "web server with its engine": ("import granian.cli, config.wsgi", {"ENGINE": "embedded"}),
    "web server": ("import granian.cli, config.wsgi", CELERY),
    "internal server": ("import granian.cli, config.internal", {}),
    "launchers": (LAUNCHERS, {}),
    "commands": (COMMANDS, {}),
    "worker on Redis": (CONSUMER.format("redis"), CELERY),
    "worker on RabbitMQ": (CONSUMER.format("pyamqp"), CELERY | {"BROKER_URL": "amqp://127.0.0.1:1"}),
    "beat": ("import config.celery, celery.bin.beat, celery.bin.celery", CELERY),
}


def run(code, lock=LOCK, **environment):
    command = [sys.executable, "-m", "tests.ops.launch.locked_packages", str(lock), code]
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "config.settings"} | environment
    return subprocess.run(
        command, cwd=settings.BASE_DIR, env=environment, capture_output=True, text=True, check=False, timeout=120
    )


@pytest.mark.parametrize("way", WAYS)
def test_a_way_to_run_imports_only_locked_packages(way):
    code, environment = WAYS[way]
    done = run(f"{code}\nimport os; os._exit(0)", **environment)
    assert done.returncode == 0, done.stderr


def test_a_package_that_is_not_locked_is_found():
    assert "No locked package has the module 'pytest'" in run("import pytest").stderr


def test_a_package_that_a_library_does_not_require_is_found(tmp_path):
    """Kombu imports packaging, and nothing that we use requires it."""
    lock = tmp_path / "run.txt"
    lock.write_text(re.sub(r"^packaging==", "parcels==", LOCK.read_text(), flags=re.MULTILINE))
    code, environment = WAYS["worker on Redis"]
    assert "No locked package has the module 'packaging" in run(code, lock, **environment).stderr


def test_the_lock_of_make_up_and_of_the_tests_contains_that_of_the_image():
    for name in ("up", "dev"):
        assert read_locked_names(LOCK) <= read_locked_names(LOCK.with_name(f"{name}.txt"))


def test_the_check_of_all_ways_starts_without_any_setting():
    """`make test-install` runs outside of the test environment, as an operator would."""
    environment = {"PATH": os.environ["PATH"]}
    command = [sys.executable, "-c", "import tests.installation.__main__"]
    done = subprocess.run(command, cwd=settings.BASE_DIR, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_process_loads_the_library_of_redis_only_if_it_uses_redis():
    code = (
        "import django, sys; django.setup(); import config.urls; assert 'redis' not in sys.modules, 'redis is loaded'"
    )
    done = run(code)
    assert done.returncode == 0, done.stderr
