"""Run actions at the same moment in threads, and wait for conditions."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

from django.db import connections


def run_concurrently(*actions: Callable[[], Any]) -> list[Any]:
    """Run all actions at the same moment. Return their results in order, with the exception of an action that raised."""
    barrier = threading.Barrier(len(actions))
    with ThreadPoolExecutor(len(actions)) as pool:
        futures = [pool.submit(_run, action, barrier) for action in actions]
        return [future.result() for future in futures]


def repeat_concurrently(count: int, do: Callable[[int], Any]) -> list[Any]:
    """Run `do(0)` to `do(count - 1)` at the same moment."""
    return run_concurrently(*(partial(do, number) for number in range(count)))


# Only limits how long a broken test takes. Planted bugs break tests on purpose: their runs set a shorter time.
CONDITION_TIMEOUT_SECONDS = float(os.environ.get("CONDITION_TIMEOUT_SECONDS") or 180)


def eventually(
    check: Callable[[], Any], *meanwhile: Callable[[], Any], timeout: float = CONDITION_TIMEOUT_SECONDS
) -> Any:
    """Repeat `check` until its result is true, and return the result.

    Each round runs the actions in `meanwhile` before the check. AssertionError after `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    for action in meanwhile:
        action()
    while not (result := check()):
        assert time.monotonic() < deadline, f"not within {timeout} s"
        for action in meanwhile:
            action()
        time.sleep(0.02)  # the condition depends on another process or on the clock of the database
    return result


def run_in_thread(action: Callable[[], Any]) -> Any:
    """Run one action in another thread, which has its own database connections, and return its result."""
    [result] = run_concurrently(action)
    if isinstance(result, BaseException):
        raise result
    return result


@contextmanager
def run_before_statement(alias: str, part: str, action: Callable[[], Any]) -> Iterator[list[Any]]:
    """Run an action in another thread before the first statement of this one that contains a text. Yield a list for its result.

    Raises AssertionError at the end if there was no such statement.
    """
    results: list[Any] = []

    def run_first(execute: Any, sql: str, *arguments: Any) -> Any:
        if part in sql and not results:
            results.append(run_in_thread(action))
        return execute(sql, *arguments)

    with connections[alias].execute_wrapper(run_first):
        yield results
    assert results, f"no statement contains {part}"


def _run(action: Callable[[], Any], barrier: threading.Barrier) -> Any:
    barrier.wait()
    try:
        return action()
    except BaseException as error:  # a result like any other: the test judges it
        return error
    finally:
        connections.close_all()
