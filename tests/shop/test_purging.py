"""Purging: small batches, one rule at a time, and a backlog that operators see."""

from contextlib import contextmanager
from io import StringIO

import pytest
import structlog
from django.core.management import CommandError, call_command

from ops.verify import check
from shop import purging
from shop.db.database import execute, fetch_rows
from shop.db.retention import list_model_rules, list_rules
from shop.models import CallCount, IdempotencyKey, OutboxEvent
from tests.readiness import read_readiness

ALIAS = "payments"
BATCH_ROWS = 1_000
INSERT_COUNTS_SQL = """
INSERT INTO shop_callcount (minute, caller, method, nth, calls, failed, seconds)
SELECT now() - interval '1 year' + number * interval '1 millisecond', 'test', %s, 0, 1, 0, 0
FROM generate_series(1, %s) AS number"""
PROTECT_SQL = """
CREATE FUNCTION test_protect() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'planted fault'; END $$;
CREATE TRIGGER test_protect BEFORE DELETE ON shop_callcount FOR EACH ROW WHEN (old.method = 'protected')
EXECUTE FUNCTION test_protect()"""


@pytest.fixture
def counts():
    """Insert counts of calls that are a year old, and delete what is left afterwards."""
    purging.purge_now(ALIAS)
    yield lambda number, method="test": execute(ALIAS, INSERT_COUNTS_SQL, [method, number])
    execute(ALIAS, "DELETE FROM shop_callcount WHERE caller = 'test'")
    execute(ALIAS, "DELETE FROM shop_purge")


@contextmanager
def a_row_that_cannot_be_deleted():
    execute(ALIAS, PROTECT_SQL)
    try:
        yield
    finally:
        execute(ALIAS, "DROP TRIGGER test_protect ON shop_callcount; DROP FUNCTION test_protect()")


def count_rows():
    [(number,)] = fetch_rows(ALIAS, "SELECT count(*) FROM shop_callcount WHERE caller = 'test'")
    return number


def make_due():
    """Let every rule run again, as if a minute had passed."""
    execute(ALIAS, "UPDATE shop_purge SET started_at = now() - interval '1 hour'")


def list_entries(expected_code=0):
    out = StringIO()
    try:
        call_command("retention", "--context", ALIAS, stdout=out)
    except CommandError as error:
        assert error.returncode == expected_code
        return out.getvalue()
    assert expected_code == 0
    return out.getvalue()


def test_rows_are_deleted_in_batches_and_those_that_were_deleted_stay_so(counts):
    """The fourth batch fails; three are committed."""
    counts(3 * BATCH_ROWS)
    execute(ALIAS, INSERT_COUNTS_SQL.replace("1 year", "2 days"), ["protected", 1])
    with a_row_that_cannot_be_deleted():
        purging.purge_now(ALIAS, list_model_rules(CallCount))
        assert count_rows() == 1
    assert purging.purge_now(ALIAS, list_model_rules(CallCount)) == 1


def test_many_rows_of_the_same_age_are_deleted(counts):
    counts(2 * BATCH_ROWS + 1)
    execute(
        ALIAS, "UPDATE shop_callcount SET nth = id %% 30000, minute = now() - interval '9 days' WHERE caller = 'test'"
    )
    assert purging.purge_now(ALIAS, list_model_rules(CallCount)) == 2 * BATCH_ROWS + 1


def test_a_purge_that_fails_does_not_stop_the_others_and_is_an_error(counts):
    counts(1, "protected")
    execute(
        ALIAS,
        """INSERT INTO shop_idempotencykey (scope, key, fingerprint, status, body, created_at)
           VALUES ('test', 'old', '', 201, '', now() - interval '4 days')""",
    )
    names = [rule.name for rule in list_rules(ALIAS)]
    execute(ALIAS, "INSERT INTO shop_ratelimit VALUES ('test', '{}', 1, '1 minute', now() - interval '1 hour')")
    with a_row_that_cannot_be_deleted(), structlog.testing.capture_logs() as logs:
        make_due()
        purging.purge_due(ALIAS)
        [failure] = [log for log in logs if log["event"] == "purge_failed"]
        assert (failure["log_level"], failure["rule"]) == ("error", "shop_callcount") and "planted" in failure["error"]
        assert fetch_rows(ALIAS, "SELECT FROM shop_idempotencykey WHERE scope = 'test' AND key = 'old'") == []
        assert fetch_rows(ALIAS, "SELECT FROM shop_ratelimit WHERE subject = 'test'") == []
        assert purging.find_problems(ALIAS) == (["shop_callcount"], [])
        ran = fetch_rows(ALIAS, "SELECT rule FROM shop_purge WHERE failures = 0 AND finished_at >= started_at")
        assert {rule for [rule] in ran} == set(names) - {"shop_callcount"}
        state = read_readiness()[1]["contexts"][ALIAS]
        assert state["failing_purges"] == ["shop_callcount"] and state["degraded"]
        listed = list_entries(expected_code=1)
        assert "payments shop_callcount: kept 1 day, 0:00:00 after minute (CALL_COUNT_RETENTION_HOURS)" in listed
        assert "FAILED 1 times: planted fault" in listed
        assert ("old_rows_are_deleted", "shop_callcount") in [(one.invariant, one.subject) for one in check()]
    purging.purge_now(ALIAS)
    assert purging.find_problems(ALIAS) == ([], [])
    assert "1 deleted" in next(line for line in list_entries().splitlines() if "shop_callcount" in line)


def test_a_backlog_that_lasts_for_a_day_is_reported(counts):
    execute(ALIAS, "UPDATE shop_purge SET behind_since = now() - interval '23 hours' WHERE rule = 'shop_outboxevent'")
    assert purging.find_problems(ALIAS) == ([], [])
    execute(ALIAS, "UPDATE shop_purge SET behind_since = now() - interval '25 hours' WHERE rule = 'shop_outboxevent'")
    assert purging.find_problems(ALIAS) == ([], ["shop_outboxevent"])
    assert read_readiness()[1]["contexts"][ALIAS]["late_purges"] == ["shop_outboxevent"]
    assert "BEHIND since" in list_entries(expected_code=1)
    purging.purge_now(ALIAS, list_model_rules(OutboxEvent))
    assert purging.find_problems(ALIAS) == ([], [])


def test_a_rule_runs_in_one_process_at_a_time(counts):
    make_due()
    purging.purge_due(ALIAS)
    counts(1)
    purging.purge_due(ALIAS)
    assert count_rows() == 1
    make_due()
    purging.purge_due(ALIAS)
    assert count_rows() == 0


def test_the_command_counts_and_deletes_what_is_left(counts):
    counts(7)
    assert "shop_callcount: kept 1 day, 0:00:00 after minute (CALL_COUNT_RETENTION_HOURS); 7 rows" in list_entries()
    call_command("retention", "--context", ALIAS, "--run", stdout=StringIO(), stderr=StringIO())
    assert count_rows() == 0


def test_the_command_lists_what_is_kept_and_why():
    listed = list_entries()
    assert "payments shop_auditentry: kept for ever. It shows who changed" in listed
    assert "payments shop_delivery: kept as long as its row in shop_outboxevent" in listed


def test_a_shorter_retention_is_used_at_once(counts, settings):
    settings.IDEMPOTENCY_KEY_RETENTION_HOURS = 24
    [rule] = list_model_rules(IdempotencyKey)
    assert rule.policy.get_period().total_seconds() == 86_400
