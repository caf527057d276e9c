"""Real races: actions in threads of their own, let loose by one barrier."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.db import connections


def at_once(*actions: Callable[[], Any]) -> list[Any]:
    """Run all actions at the same moment. Their answers in order; an exception stands for the answer."""
    barrier = threading.Barrier(len(actions))
    with ThreadPoolExecutor(len(actions)) as pool:
        running = [pool.submit(_run, action, barrier) for action in actions]
        return [one.result() for one in running]


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
