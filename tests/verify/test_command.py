"""manage.py verify, as operators and scripts use it."""

import json
import os
import subprocess
import sys
from io import StringIO

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from config.verify import INVARIANTS
from shop.database import changed
from tests.inventory.stock import stocked
from tests.orders.clockwork import run_until_idle
from tests.shopper import InProcess


def run(*arguments: str) -> tuple[int, str]:
    """Exit status and standard output."""
    out = StringIO()
    try:
        call_command("verify", *arguments, stdout=out)
    except CommandError as error:
        return error.returncode, out.getvalue()
    return 0, out.getvalue()


@pytest.fixture
def oversold():
    """A SKU with a wrong count, for as long as the test runs."""
    sku = stocked(5)
    changed("inventory", "UPDATE inventory_stock SET on_hand = 6 WHERE sku = %s", [sku])
    yield sku
    changed("inventory", "UPDATE inventory_stock SET on_hand = 5 WHERE sku = %s", [sku])


def test_a_violation_is_told_with_its_sentence_and_the_exit_status_is_1(oversold):
    status, said = run("--context", "inventory")
    assert status == 1
    assert "2 stock_explained: What is on hand of a SKU is what there was at first and the sum of its movements." in said
    assert f"  {oversold}: 6 on hand, but 5 at first and 0 moved" in said


def test_json_is_one_document(oversold):
    status, said = run("--json", "--context", "inventory")
    found = json.loads(said)
    expected = {"invariant": "stock_explained", "subject": oversold, "detail": "6 on hand, but 5 at first and 0 moved"}
    assert status == 1
    assert expected in found["violations"]
    assert found["looked"]["stock_explained"] >= 1


def test_the_summary_says_how_much_was_looked_at():
    InProcess().order(stocked(1))
    run_until_idle()
    _, said = run()
    summary = said.splitlines()[-1]
    assert f"of {len(INVARIANTS)} invariants" in summary
    assert int(summary.split(" rows looked at")[0].split()[-1]) > 0


def test_what_is_not_checked_is_said():
    _, said = run("--context", "users")
    assert "not checked without the other contexts" in said
    assert "confirmed_is_paid" in said


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [(["--context", "warehouse"], "invalid choice: 'warehouse'"), (["--grace", "soon"], "invalid seconds value")],
)
def test_a_wrong_argument_is_told(arguments, complaint):
    with pytest.raises(CommandError, match=complaint):
        call_command("verify", *arguments)


def in_a_process(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        env=os.environ | environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def test_a_database_that_is_away_is_a_sentence_and_the_exit_status_is_2():
    done = in_a_process("verify", PAYMENTS_DATABASE_URL="postgres://nobody@127.0.0.1:1/nothing")
    assert done.returncode == 2
    assert "the database of payments cannot be read" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_books_of_a_new_shop_are_right_and_the_exit_status_is_0():
    prefix = f"{settings.DATABASE_PREFIX}_new"
    for command in ("databases", "migrate"):
        assert in_a_process(command, DATABASE_PREFIX=prefix).returncode == 0
    done = in_a_process("verify", "--at-rest", DATABASE_PREFIX=prefix)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"0 violations of {len(INVARIANTS)} invariants" in done.stdout
    assert "looked at nothing: stock_within_bounds" in done.stdout


def test_the_documentation_has_the_invariants_as_they_are():
    _, table = run("--list")
    assert table.strip() in (settings.BASE_DIR / "docs" / "invariants.md").read_text(), "run `manage.py verify --list`"
