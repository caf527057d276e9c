"""manage.py verify: output, JSON, exit status, and the table in docs/invariants.md."""

import json
import os
from io import StringIO

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from ops.verify import INVARIANTS
from shop.db.database import execute
from tests.engine_driver import run_until_idle
from tests.factories import create_sku
from tests.shopper import InProcessShopper


def run(*arguments: str) -> tuple[int, str]:
    """Run the command; return its exit status and standard output."""
    out = StringIO()
    try:
        call_command("verify", *arguments, stdout=out)
    except CommandError as error:
        return error.returncode, out.getvalue()
    return 0, out.getvalue()


@pytest.fixture
def wrong_stock_count():
    """Corrupt the quantity on hand of a SKU for the duration of the test."""
    sku = create_sku(5)
    execute("inventory", "UPDATE inventory_stock SET on_hand = 6 WHERE sku = %s", [sku])
    yield sku
    execute("inventory", "UPDATE inventory_stock SET on_hand = 5 WHERE sku = %s", [sku])


def test_a_violation_is_reported_with_exit_status_1(wrong_stock_count):
    status, output = run("--context", "inventory")
    assert status == 1
    assert (
        "2 stock_explained: The quantity on hand of a SKU is its initial quantity plus the sum of its stock movements."
        in output
    )
    assert f"  {wrong_stock_count}: 6 on hand, but initially 5 and movements of 0" in output


def test_json_is_one_document(wrong_stock_count):
    status, output = run("--json", "--context", "inventory")
    found = json.loads(output)
    expected = {
        "invariant": "stock_explained",
        "subject": wrong_stock_count,
        "detail": "6 on hand, but initially 5 and movements of 0",
    }
    assert status == 1
    assert expected in found["violations"]
    assert found["looked"]["stock_explained"] >= 1


def test_the_summary_counts_the_checked_rows():
    InProcessShopper().order(create_sku(1))
    run_until_idle()
    _, output = run()
    summary = output.splitlines()[-1]
    assert f"of {len(INVARIANTS)} invariants" in summary
    assert int(summary.split(" rows checked")[0].split()[-1]) > 0


def test_skipped_invariants_are_reported():
    _, output = run("--context", "users")
    assert "not checked because their contexts were not read" in output
    assert "confirmed_is_paid" in output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--context", "warehouse"], "invalid choice: 'warehouse'"), (["--grace", "soon"], "invalid parse_seconds value")],
)
def test_an_invalid_argument_is_reported(arguments, message):
    with pytest.raises(CommandError, match=message):
        call_command("verify", *arguments)


@pytest.fixture
def run_in_process(preloaded_python):
    """Return a function that runs a command of manage.py in a process of its own."""
    return lambda *arguments, **environment: preloaded_python.run(
        "manage.py", *arguments, environment=os.environ | environment
    )


def test_an_unreachable_database_is_reported_with_exit_status_2(run_in_process):
    done = run_in_process("verify", PAYMENTS_DATABASE_URL="postgres://user@127.0.0.1:1/database")
    assert done.returncode == 2
    assert "the database of payments cannot be read" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_new_shop_has_no_violation_and_exit_status_0(run_in_process):
    prefix = f"{settings.DATABASE_PREFIX}_new"
    for command in ("databases", "migrate"):
        assert run_in_process(command, DATABASE_PREFIX=prefix).returncode == 0
    done = run_in_process("verify", "--at-rest", DATABASE_PREFIX=prefix)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"0 violations of {len(INVARIANTS)} invariants" in done.stdout
    assert "no rows to check: stock_within_bounds" in done.stdout


def test_the_documentation_lists_the_current_invariants():
    _, table = run("--list")
    assert table.strip() in (settings.BASE_DIR / "docs" / "invariants.md").read_text(), "run `manage.py verify --list`"
