"""Real races: actions in threads of their own, let loose by one barrier. And patience for what others do."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from django.db import connections


def at_once(*actions: Callable[[], Any]) -> list[Any]:
    """Run all actions at the same moment. Their answers in order; an exception stands for the answer."""
    barrier = threading.Barrier(len(actions))
    with ThreadPoolExecutor(len(actions)) as pool:
        running = [pool.submit(_run, action, barrier) for action in actions]
        return [one.result() for one in running]


def crowd(count: int, do: Callable[[int], Any]) -> list[Any]:
    """`do(0)` to `do(count - 1)`, all at once."""
    return at_once(*(partial(do, number) for number in range(count)))


def eventually(look: Callable[[], Any], *meanwhile: Callable[[], Any], patience: float = 10.0) -> Any:
    """What `look` sees once it is true, doing `meanwhile` again and again. AssertionError if it never is."""
    deadline = time.monotonic() + patience
    for action in meanwhile:
        action()
    while not (seen := look()):
        assert time.monotonic() < deadline, f"not within {patience} s"
        for action in meanwhile:
            action()
        time.sleep(0.02)  # between two looks: what is awaited goes by the database's clock, or another process's
    return seen


def elsewhere(action: Callable[[], Any]) -> Any:
    """Run one action in another thread, which holds nothing of this one's."""
    [answer] = at_once(action)
    if isinstance(answer, BaseException):
        raise answer
    return answer


def _run(action: Callable[[], Any], barrier: threading.Barrier) -> Any:
    barrier.wait()
    try:
        return action()
    except BaseException as error:  # the test looks at it
        return error
    finally:
        connections.close_all()
