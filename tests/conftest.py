"""What every test stands on: five real databases, real commits, and the engine by hand.

Nothing is rolled back between tests: five processes could not do that either. A test makes its own data, and finds that
of the tests of its folder before it. Folders begin with empty tables, so that looking at all the books stays cheap.
"""

from collections.abc import Callable

import pytest
from django.conf import settings
from django.core.management import call_command

from shop.database import rows
from tests import environment
from tests.topologies import five, reporting
from tests.topologies.repeats import repeated_at_the_end
from tests.topologies.reporting import pytest_runtest_makereport, pytest_terminal_summary  # noqa: F401

# Tests with processes of their own, or of none: the binding of the suite's process says nothing there, so once is enough.
ONCE = {
    "local": ("config/test_up.py", "journeys/test_crowd.py", "journeys/test_outages.py", "journeys/test_serving.py", "mutants"),
    "loopback": ("celery/test_by_messages.py", "celery/test_commands.py", "celery/test_late_acks.py", "celery/test_workers.py",
                 "chaos/test_split_sweep.py", "bench", "peel", "releases"),
}  # fmt: skip
collect_ignore = [path for binding, paths in ONCE.items() if binding != settings.TRANSPORT for path in paths]

MIGRATED = {"django_migrations", "django_content_type", "inventory_catalogueversion"}  # tables whose rows migrations write


@pytest.fixture(scope="session", autouse=True)
def django_db_setup(request, django_db_blocker):
    """Create and migrate the five databases as an operator would; then let every test in."""
    django_db_blocker.unblock()
    call_command("databases", verbosity=0)
    call_command("migrate", verbosity=0)
    for context in settings.CONTEXTS:
        _empty(context)  # of what another run has left, on a server of somebody's own
    if environment.TOPOLOGY == "remote":
        with five.running():
            yield
            reporting.folder_ends(request.session.items[-1].path.parent)
    else:
        yield
    django_db_blocker.restore()


def pytest_runtest_setup(item):
    """Before any fixture of the folder, and after the last of the one before it."""
    items = item.session.items
    before = items.index(item) - 1
    if before >= 0 and items[before].path.parent != item.path.parent:
        reporting.folder_ends(items[before].path.parent)
        for context in settings.CONTEXTS:
            _empty(context)


def _empty(context: str) -> None:
    tables = rows(context, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    ledger = "ALTER TABLE payments_ledgerentry {} TRIGGER append_only" if context == "payments" else ""
    rows(context, ledger.format("DISABLE") or "SELECT")
    try:
        rows(context, f"TRUNCATE {', '.join({table for (table,) in tables} - MIGRATED)}")
    finally:
        rows(context, ledger.format("ENABLE") or "SELECT")


@pytest.fixture
def verified(request):
    """Check after the test that it left the books of the five contexts right: see tests/verify/watch.py."""
    from tests.verify.watch import watched

    with watched(request):
        yield


@pytest.fixture(autouse=True)
def repeat_idempotent_calls(request):
    """Where calls are sent, make a test's idempotent ones once more at its end: none may announce anything."""
    if "verified" in request.fixturenames:
        request.getfixturevalue("verified")  # so that it looks at the books after these calls
    with repeated_at_the_end():
        yield


@pytest.fixture
def logged(caplog) -> Callable[[], str]:
    """What has been logged as an error since the test began, in whichever process."""
    caplog.set_level("ERROR")
    elsewhere = five.current
    began = len(elsewhere.said()) if elsewhere else 0
    return lambda: caplog.text + (elsewhere.said(began) if elsewhere else "")


@pytest.fixture
def in_one_process():
    """For a test that looks into the process that it asks."""
    with five.one_process():
        yield
