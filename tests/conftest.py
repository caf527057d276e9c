"""Fixtures of all tests: five real databases with real commits, and the engine, which tests run step by step.

Nothing is rolled back between tests, which five processes could not do either. A test creates its own data and finds that of
earlier tests of its folder. Each folder begins with empty tables, so that the check of all invariants stays cheap.
"""

from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
from django.conf import settings
from django.core.management import call_command

from shop.db.database import fetch_rows
from tests import environment
from tests.preloaded_python import PreloadedPython
from tests.shop.db.superuser_session import database_name, execute_as_superuser
from tests.topologies import five_processes, reporting
from tests.topologies.repeated_calls import repeat_calls_at_end
from tests.topologies.reporting import pytest_runtest_makereport, pytest_terminal_summary  # noqa: F401

# Tests for which the binding of the test process makes no difference, since they start other processes or none, or test
# the kernel, which has no contexts: they run once.
SINGLE_BINDING_TESTS = {
    "local": (
        "architecture", "config", "models", "mutants", "repository", "soak/test_supervisor.py",
        *(f"ops/{name}" for name in ("audit_rows", "console", "demo", "deploy", "launch", "topology")),
        *(f"ops/test_{name}.py" for name in ("commands", "engine_command", "startcontext")),
        *(f"journeys/test_{name}.py" for name in ("concurrent_buyers", "connections", "outages", "serving", "slow_clients")),
        "journeys/test_database_log.py", "journeys/test_secret_rotation.py",
    ),
    "loopback": ("bench", "chaos/test_split_sweep.py", "journeys/test_split.py", "ops/peel", "releases", "shop"),
}  # fmt: skip
ALSO_REMOTE = ("journeys/test_split.py", "shop")  # of those for loopback
# Tests that take minutes and have a make target of their own, which names their files.
OWN_TARGET_TESTS = [
    "clients/test_generated_clients.py",
    "ops/peel/test_interrupted_moves.py",
    "ops/peel/test_tutorial.py",
]
collect_ignore = OWN_TARGET_TESTS + [
    path
    for binding, paths in SINGLE_BINDING_TESTS.items() if binding != settings.TRANSPORT
    for path in paths if environment.TOPOLOGY != "remote" or path not in ALSO_REMOTE
]  # fmt: skip

MIGRATED = {
    "django_migrations",
    "django_content_type",
    "inventory_catalogueversion",
}  # tables with rows that migrations insert


@pytest.fixture(scope="session", autouse=True)
def django_db_setup(request, django_db_blocker):
    """Create and migrate the five databases as an operator would, and allow all tests to use them."""
    django_db_blocker.unblock()
    call_command("databases", verbosity=0)
    call_command("migrate", verbosity=0)
    call_command("databases", verbosity=0)
    for context in settings.CONTEXTS:
        _truncate_tables(context)  # another run may have left rows, on a server that DATABASE_URL names
    if environment.TOPOLOGY == "remote":
        with five_processes.running():
            yield
            reporting.record_folder_end(request.session.items[-1].path.parent)
    else:
        yield
    django_db_blocker.restore()


def pytest_runtest_setup(item):
    """Empty the tables between two folders: before any fixture of the new one, after the last of the old one."""
    items = item.session.items
    before = items.index(item) - 1
    if before >= 0 and items[before].path.parent != item.path.parent:
        reporting.record_folder_end(items[before].path.parent)
        for context in settings.CONTEXTS:
            _truncate_tables(context)


def _truncate_tables(context: str) -> None:
    """Empty the tables in one transaction of the superuser: the role of a context cannot empty its audit table."""
    tables = fetch_rows(context, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    truncate = f"SET lock_timeout = '5s'; TRUNCATE {', '.join({table for (table,) in tables} - MIGRATED)}"
    if context == "payments":
        trigger = "ALTER TABLE payments_ledgerentry {} TRIGGER append_only"
        truncate = "; ".join([trigger.format("DISABLE"), truncate, trigger.format("ENABLE")])
    execute_as_superuser(truncate, database=database_name(context))


@pytest.fixture
def verified(request):
    """Check after the test that the invariants of all contexts hold: see tests/ops/verify/invariant_watch.py."""
    from tests.ops.verify.invariant_watch import assert_invariants_kept

    with assert_invariants_kept(request):
        yield


@pytest.fixture(autouse=True)
def repeat_idempotent_calls(request):
    """Repeat the idempotent remote calls of a test at its end: none of them may publish an event."""
    if "verified" in request.fixturenames:
        request.getfixturevalue("verified")  # so that it checks the invariants after these calls
    with repeat_calls_at_end():
        yield


@pytest.fixture(scope="session")
def preloaded_python() -> Iterator[PreloadedPython]:
    """Return a Python with the libraries: it starts commands in a moment, and each reads the settings anew."""
    with closing(PreloadedPython()) as python:
        yield python


@pytest.fixture
def error_log(caplog) -> Callable[[], str]:
    """Return a function that returns the errors that any process has logged since the test began."""
    caplog.set_level("ERROR")
    processes = five_processes.current
    began = len(processes.read_logs()) if processes else 0
    return lambda: caplog.text + (processes.read_logs(began) if processes else "")


@pytest.fixture
def in_one_process():
    """Serve all contexts in the test process, for a test that looks into the process that responds."""
    with five_processes.single_process():
        yield
