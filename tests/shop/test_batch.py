"""Batch jobs: resumed after a crash, each object once, failures listed, outages waited for."""

from contextlib import contextmanager

import pytest

from shop import batch
from shop.audit import audit, list_object_history
from shop.batch import BatchObject
from shop.db.database import execute
from shop.db.retention import list_model_rules
from shop.errors import Conflict, Unavailable
from shop.ids import uuid7
from shop.models import BatchJob
from shop.purging import purge_now

ALIAS = "orders"


class NotThisOne(Conflict):
    """This object cannot be changed."""


class ProcessKilled(BaseException):
    """Stands for the end of a process between two statements."""


@pytest.fixture
def registered():
    """Register actions while a test runs."""
    before = dict(batch._actions)
    yield batch.batch_action
    batch._actions.clear()
    batch._actions.update(before)


def new_job(action, count, *, start=True):
    objects = [BatchObject(str(uuid7()), f"object {n}", f"v{n}") for n in range(count)]
    job_id = uuid7()
    assert batch.create_job(ALIAS, action, actor="clerk", objects=objects, start=start, job_id=job_id)
    return job_id, objects


def write(task):
    audit(ALIAS, actor=task.actor, action="processed", object_type="thing", object_id=task.key)


def times_processed(objects):
    return [len(list_object_history(ALIAS, "thing", each.key)) for each in objects]


def run_to_end(job_id):
    """Run due slices until the job is finished. Its lease and its delay are over at once."""
    while batch.find_job(ALIAS, job_id).finished_at is None:
        execute(ALIAS, "UPDATE shop_batchjob SET lease_until = NULL, due_at = now() WHERE id = %s", [job_id])
        batch.run_job(ALIAS, job_id, seconds=60)
    return batch.find_job(ALIAS, job_id)


@contextmanager
def dies(action, at):
    """Let a process die at the n-th call of an action, after its effect."""
    calls = []

    def run(task):
        write(task)
        calls.append(task.key)
        if len(calls) == at:
            raise ProcessKilled

    yield run


def test_a_job_processes_each_object_and_reports_each_failure(registered):
    @registered("tests.some_fail")
    def process(task):
        write(task)
        if task.label == "object 1":
            raise NotThisOne
        if task.label == "object 3":
            raise ZeroDivisionError

    job_id, objects = new_job("tests.some_fail", 5)
    job = run_to_end(job_id)
    assert (job.position, job.failed, job.due_at) == (5, 2, None)
    assert job.failures == [
        [objects[1].key, "object 1", "This object cannot be changed."],
        [objects[3].key, "object 3", batch.INTERNAL_ERROR],
    ]
    assert times_processed(objects) == [1, 0, 1, 0, 1]


def test_a_job_resumes_after_a_crash_and_processes_each_object_once(registered):
    with dies("tests.killed", at=3) as run:
        registered("tests.killed")(run)
        job_id, objects = new_job("tests.killed", 5)
        with pytest.raises(ProcessKilled):
            batch.run_job(ALIAS, job_id, seconds=60)
    assert batch.find_job(ALIAS, job_id).position == 2
    run_to_end(job_id)
    assert times_processed(objects) == [1] * 5


def test_an_action_that_calls_out_is_repeated_with_the_same_operation_id(registered):
    seen = []

    @registered("tests.calls_out", atomic=False)
    def process(task):
        seen.append((task.label, task.operation_id, task.argument))
        if len(seen) == 2:
            raise ProcessKilled

    job_id, _ = new_job("tests.calls_out", 3)
    with pytest.raises(ProcessKilled):
        batch.run_job(ALIAS, job_id, seconds=60)
    run_to_end(job_id)
    assert [label for label, _, _ in seen] == ["object 0", "object 1", "object 1", "object 2"]
    assert seen[1] == seen[2] and len({operation for _, operation, _ in seen}) == 3


def test_an_outage_is_no_failure(registered):
    calls = []

    @registered("tests.outage", atomic=False)
    def process(task):
        calls.append(task.label)
        if len(calls) == 2:
            raise Unavailable(what="The provider")

    job_id, _ = new_job("tests.outage", 3)
    batch.run_job(ALIAS, job_id, seconds=60)
    job = batch.find_job(ALIAS, job_id)
    assert (job.position, job.failed, job.finished_at) == (1, 0, None)
    assert "The provider" in job.error
    assert (run_to_end(job_id).failed, calls) == (0, ["object 0", "object 1", "object 1", "object 2"])


def test_a_stopped_job_begins_no_further_object(registered):
    @registered("tests.stopped")
    def process(task):
        write(task)
        if task.label == "object 1":
            assert batch.stop_job(ALIAS, job_id, actor="manager")
            assert not batch.stop_job(ALIAS, job_id, actor="other")

    job_id, objects = new_job("tests.stopped", 4)
    batch.run_job(ALIAS, job_id, seconds=60)
    job = batch.find_job(ALIAS, job_id)
    assert (job.position, job.stopped_by, job.is_cut_short, job.due_at) == (2, "manager", True, None)
    assert job.finished_at is not None
    batch.run_job(ALIAS, job_id, seconds=60)
    batch.run_due(ALIAS)
    assert times_processed(objects) == [1, 1, 0, 0]
    [entry] = list_object_history(ALIAS, "batchjob", job_id)
    assert (entry.actor, entry.action) == ("manager", "stop bulk action")


def test_a_job_that_waits_or_whose_worker_died_is_stopped_at_once(registered):
    with dies("tests.stopped_after_a_crash", at=2) as run:
        registered("tests.stopped_after_a_crash")(run)
        job_id, objects = new_job("tests.stopped_after_a_crash", 3)
        with pytest.raises(ProcessKilled):
            batch.run_job(ALIAS, job_id, seconds=60)
    execute(ALIAS, "UPDATE shop_batchjob SET lease_until = now() WHERE id = %s", [job_id])
    before = batch.find_job(ALIAS, job_id)
    assert batch.stop_job(ALIAS, job_id, actor="manager")
    job = batch.find_job(ALIAS, job_id)
    assert (job.finished_at is not None, job.due_at, job.attempt) == (True, None, before.attempt + 1)
    batch.run_job(ALIAS, job_id, seconds=60)
    assert times_processed(objects) == [1, 0, 0]


def test_a_job_that_has_ended_or_not_begun_cannot_be_stopped(registered):
    registered("tests.not_stoppable")(write)
    finished, unconfirmed = (new_job("tests.not_stoppable", 1, start=start)[0] for start in (True, False))
    run_to_end(finished)
    for job_id in (finished, unconfirmed, uuid7()):
        assert not batch.stop_job(ALIAS, job_id, actor="manager")
    assert batch.start_job(ALIAS, unconfirmed)
    assert not run_to_end(unconfirmed).is_cut_short


def test_a_worker_that_lost_its_lease_changes_nothing(registered):
    @registered("tests.taken_over")
    def process(task):
        write(task)
        execute(ALIAS, "UPDATE shop_batchjob SET attempt = attempt + 1 WHERE actor = 'clerk'")

    job_id, objects = new_job("tests.taken_over", 2)
    batch.run_job(ALIAS, job_id, seconds=60)
    assert times_processed(objects) == [0, 0]
    assert batch.find_job(ALIAS, job_id).position == 0


def test_a_job_starts_once_and_not_before_it_is_confirmed(registered):
    registered("tests.confirmed")(write)
    job_id, objects = new_job("tests.confirmed", 2, start=False)
    batch.run_job(ALIAS, job_id, seconds=60)
    assert times_processed(objects) == [0, 0]
    assert [batch.start_job(ALIAS, job_id), batch.start_job(ALIAS, job_id)] == [True, False]
    run_to_end(job_id)
    batch.run_job(ALIAS, job_id, seconds=60)
    assert times_processed(objects) == [1, 1]


def test_only_old_jobs_are_purged(registered):
    registered("tests.purged")(write)
    finished, unconfirmed, running = (new_job("tests.purged", 1, start=start)[0] for start in (True, False, True))
    run_to_end(finished)
    assert purge_now(ALIAS, list_model_rules(BatchJob)) == 0
    execute(ALIAS, "UPDATE shop_batchjob SET finished_at = now() - interval '31 days' WHERE id = %s", [finished])
    execute(ALIAS, "UPDATE shop_batchjob SET created_at = now() - interval '31 days'")
    assert purge_now(ALIAS, list_model_rules(BatchJob)) == 2
    assert batch.find_job(ALIAS, running) and not batch.find_job(ALIAS, unconfirmed)
    run_to_end(running)
