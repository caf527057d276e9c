"""Count the sessions that a server has at the same time, while a block runs."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from tests.shop.db.superuser_session import open_superuser_session


@contextmanager
def observing(sql: str, *parameters: str) -> Iterator[list[int]]:
    """Yield a list to which the number of sessions that `sql` selects (their pid and backend_start) is added all the time.

    pg_stat_activity is no snapshot: it may show a session that has just ended beside one that began later. So only sessions
    count that two observations after each other show: these have existed at the same time.
    """
    counts: list[int] = []
    is_done = threading.Event()

    def observe() -> None:
        with open_superuser_session("postgres", autocommit=True) as session:
            before: set[tuple] = set()
            while not is_done.is_set():
                found = set(session.execute(sql, parameters).fetchall())
                counts.append(len(found & before))
                before = found

    with ThreadPoolExecutor(1) as pool:
        observer = pool.submit(observe)
        try:
            yield counts
        finally:
            is_done.set()
            observer.result()
