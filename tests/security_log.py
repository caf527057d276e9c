"""Read what any process of the tests has written to the security log."""

import io
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from shop.security_log import LOGGER
from tests.topologies import five_processes

Entry = dict[str, Any]


@contextmanager
def recorded_events() -> Iterator[Callable[..., list[Entry]]]:
    """Provide a function that returns the entries since then: all, or those with this name and these fields."""
    out, logger, processes = io.StringIO(), logging.getLogger(LOGGER), five_processes.current
    began = len(processes.read_logs()) if processes else 0
    handler = logging.StreamHandler(out)
    handler.setFormatter(logging.getLogger().handlers[0].formatter)
    logger.addHandler(handler)

    def find(event: str = "", **fields: object) -> list[Entry]:
        lines = [*out.getvalue().splitlines(), *(processes.read_logs(began).splitlines() if processes else [])]
        entries = [entry for entry in map(_decode, lines) if entry.get("logger") == LOGGER]
        expected = {**({"event": event} if event else {}), **fields}
        return [entry for entry in entries if expected.items() <= entry.items()]

    try:
        yield find
    finally:
        logger.removeHandler(handler)


def _decode(line: str) -> Entry:
    try:
        entry = json.loads(line)
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) else {}
