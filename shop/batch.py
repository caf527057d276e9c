"""Batch jobs: an action on many objects, run object by object, in the background.

    @batch_action("inventory.put_on_sale")
    def put_on_sale(task: Task) -> None: ...

    batch.create_job("inventory", "inventory.put_on_sale", actor=…, objects=[…], start=True, job_id=uuid7())

A job is a row in the context's database. Any worker takes its lease, processes some objects and releases it. After a
crash the next worker resumes at the object that was not finished. Staff can stop it: no further object is begun.
"""

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple
from uuid import UUID, uuid5

import structlog
from psycopg.types.json import Jsonb

from shop.audit import audit
from shop.db.database import (
    OUTAGE_ERRORS,
    close_broken_connections,
    execute,
    fetch_rows,
    joinable_transaction,
    transaction,
)
from shop.db.leases import LeaseLost, acquire_due_leases, acquire_lease, keep_lease_alive
from shop.errors import DomainError, Unavailable
from shop.models import BatchJob
from shop.security_log import log_refusal

MAX_OBJECTS = 10_000
MAX_STORED_FAILURES = 1_000
SLICE_SECONDS = 1.0  # after this time a worker lets other timers run
OUTAGE_DELAY = timedelta(seconds=5)
INTERNAL_ERROR = "An internal error occurred. The log has it under the id of this job."

log = structlog.get_logger(__name__)


class Task(NamedTuple):
    """One object of a job. `operation_id` is the same each time that the object is processed: use it as business key."""

    key: str
    label: str
    argument: str
    actor: str
    operation_id: UUID


@dataclass(frozen=True)
class _Action:
    run: Callable[[Task], object]
    atomic: bool


class BatchObject(NamedTuple):
    """An object that a job has to process: its primary key, its label, and a further argument for the function."""

    key: str
    label: str
    argument: str = ""


_actions: dict[str, _Action] = {}


def batch_action(name: str, *, atomic: bool = True) -> Callable[[Callable[[Task], object]], Callable[[Task], object]]:
    """Register the function that processes one object of a job.

    name: `<context>.<action>`; stored with each job, so it never changes.
    atomic: process each object in one transaction with the progress, so that it happens exactly once. Use
    `atomic=False` for an action that calls out: it may happen twice, so it has to be idempotent.
    """

    def register(function: Callable[[Task], object]) -> Callable[[Task], object]:
        _actions[name] = _Action(function, atomic)
        return function

    return register


def create_job(
    context: str, action: str, *, actor: str, objects: Iterable[BatchObject], start: bool, job_id: UUID
) -> bool:
    """Store a job under an id of the caller. It runs at once with `start`, else after `start_job`.

    Returns False, and stores nothing, if there is a job with this id: the request was sent before.
    """
    listed = [list(each) for each in objects]
    with transaction(context):
        stored = execute(
            context,
            """INSERT INTO shop_batchjob (id, action, actor, objects_to_change, total, failures, started_at, due_at)
               VALUES (%s, %s, %s, %s, %s, '[]', CASE WHEN %s THEN now() END, CASE WHEN %s THEN now() END)
               ON CONFLICT (id) DO NOTHING""",
            [job_id, action, actor, Jsonb(listed), len(listed), start, start],
        )
    return bool(stored)


def start_job(context: str, job_id: UUID) -> bool:
    """Start a job that waits for its confirmation. Returns False if it has been started before."""
    with transaction(context):
        sql = "UPDATE shop_batchjob SET started_at = now(), due_at = now() WHERE id = %s AND started_at IS NULL"
        return bool(execute(context, sql, [job_id]))


_STOP_SQL = """
UPDATE shop_batchjob SET stopped_at = now(), stopped_by = %s,
    finished_at = CASE WHEN lease_until > now() THEN NULL ELSE now() END,
    due_at = CASE WHEN lease_until > now() THEN due_at END,
    attempt = attempt + CASE WHEN lease_until > now() THEN 0 ELSE 1 END
WHERE id = %s AND started_at IS NOT NULL AND finished_at IS NULL AND stopped_at IS NULL RETURNING action, position, total"""


def stop_job(context: str, job_id: UUID, *, actor: str) -> bool:
    """Stop a running job before its next object. Returns False if it has ended, was stopped before, or has not started.

    The worker that runs it ends it after the object that it is at; without one it ends now, and a worker whose lease has
    expired is fenced off.
    """
    with transaction(context):
        stopped = fetch_rows(context, _STOP_SQL, [actor, job_id])
        for action, position, total in stopped:
            detail = {"of": action, "processed": position, "total": total}
            audit(context, actor=actor, action="stop bulk action", object_type="batchjob", object_id=job_id, **detail)
    return bool(stopped)


def find_job(context: str, job_id: UUID) -> BatchJob | None:
    """Return a job, if there is one."""
    return BatchJob.objects.using(context).filter(id=job_id).first()


def list_jobs(context: str, actions: Iterable[str], limit: int = 50) -> list[BatchJob]:
    """List the jobs of these actions, latest first, without their objects."""
    jobs = BatchJob.objects.using(context).filter(action__in=list(actions)).defer("objects_to_change", "failures")
    return list(jobs.order_by("-created_at")[:limit])


def run_job(context: str, job_id: UUID, *, seconds: float) -> None:
    """Run a started job for some seconds, unless a worker runs it. The engine does the rest."""
    if not BatchJob.objects.using(context).filter(id=job_id, started_at__isnull=False, finished_at=None).exists():
        return
    job = acquire_lease(BatchJob, context, job_id)
    if job is not None:
        _run_slice(context, job, seconds)


def run_due(context: str) -> None:
    """Run a slice of the job that has waited longest, if there is one. A timer of the engine calls it."""
    for job in acquire_due_leases(BatchJob, context, 1):
        _run_slice(context, job, SLICE_SECONDS)


def _run_slice(context: str, job: BatchJob, seconds: float) -> None:
    stop_at, outage = time.monotonic() + seconds, ""
    with suppress(LeaseLost), keep_lease_alive(job, context):
        while job.position < job.total and job.stopped_at is None and not outage:
            outage = _process_next(context, job)
            if time.monotonic() >= stop_at:
                break
        _release(context, job, outage)


def _process_next(context: str, job: BatchJob) -> str:
    """Process the object at the job's position. Returns the error of an outage, after which it is tried again."""
    task = _build_task(job)
    try:
        _process(context, job, task)
    except OUTAGE_ERRORS as error:
        log.warning("batch_job_postponed", job_id=str(job.id), error=str(error))
        close_broken_connections()
        return str(error)
    job.position += 1
    return ""


def _build_task(job: BatchJob) -> Task:
    key, label, argument = job.objects_to_change[job.position]
    return Task(key, label, argument, job.actor, uuid5(job.id, str(job.position)))


def _process(context: str, job: BatchJob, task: Task) -> None:
    action = _actions.get(job.action)
    if action is None:  # a release that does not have it; another process may
        raise Unavailable(what=f"The batch action {job.action}")
    try:
        if action.atomic:
            with joinable_transaction(context):
                action.run(task)
                _save_progress(context, job)
            return
        action.run(task)
    except (LeaseLost, *OUTAGE_ERRORS):
        raise
    except DomainError as error:
        log_refusal(error, context=context, action=job.action, object_id=task.key)
        _save_progress(context, job, failure=[task.key, task.label, str(error)])
        return
    except Exception:
        log.exception("batch_task_failed", job_id=str(job.id), key=task.key)
        _save_progress(context, job, failure=[task.key, task.label, INTERNAL_ERROR])
        return
    _save_progress(context, job)


def _save_progress(context: str, job: BatchJob, failure: list[str] | None = None) -> None:
    """Store that one more object is processed, and read whether the job was stopped.

    Raises LeaseLost if another worker has taken the job over.
    """
    changed = fetch_rows(
        context,
        """UPDATE shop_batchjob SET position = position + 1, failed = failed + %s,
               failures = CASE WHEN failed < %s THEN failures || %s ELSE failures END
           WHERE id = %s AND attempt = %s AND position = %s RETURNING stopped_at""",
        [
            int(failure is not None),
            MAX_STORED_FAILURES,
            Jsonb([] if failure is None else [failure]),
            job.id,
            job.attempt,
            job.position,
        ],
    )
    if not changed:
        raise LeaseLost
    [(job.stopped_at,)] = changed


def _release(context: str, job: BatchJob, outage: str) -> None:
    execute(
        context,
        """UPDATE shop_batchjob SET lease_until = NULL, error = %s,
               due_at = CASE WHEN position < total AND stopped_at IS NULL THEN now() + %s END,
               finished_at = CASE WHEN position = total OR stopped_at IS NOT NULL THEN coalesce(finished_at, now()) END
           WHERE id = %s AND attempt = %s""",
        [outage, OUTAGE_DELAY if outage else timedelta(0), job.id, job.attempt],
    )
