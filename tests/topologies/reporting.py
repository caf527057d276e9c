"""Report a run in five processes: the calls between them by folder, and what they logged during a failed test."""

from collections import Counter
from pathlib import Path

import pytest

from tests.topologies import five_processes, recorded_calls

KINDS = ("requests", "calls by tests", "calls", "events delivered")
counts_by_folder: dict[str, Counter[str]] = {}  # by the folder of the tests
_before: Counter[str] = Counter()
_log_position = 0  # characters of the logs


def record_folder_end(folder: Path) -> None:
    """Count what was sent between processes since the end of the folder before."""
    global _before
    if five_processes.current:
        now = _count_calls(five_processes.current)
        counts_by_folder.setdefault(folder.name, Counter()).update(now - _before)
        _before = now


def _count_calls(shop: five_processes.FiveProcesses) -> Counter[str]:
    calls = sum(shop.calls().values(), Counter())
    events = sum(number for method, number in calls.items() if method.endswith(".inbox.accept"))
    counts = (shop.requests, sum(recorded_calls.call_counts.values()), sum(calls.values()) - events, events)
    return Counter(dict(zip(KINDS, counts, strict=True)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if counts_by_folder:
        terminalreporter.line("Between processes:" + "".join(f"{kind:>19}" for kind in KINDS))
        for folder, counts in counts_by_folder.items():
            terminalreporter.line(f"{folder:18}" + "".join(f"{counts[kind]:19,}" for kind in KINDS))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    global _log_position
    report = yield
    if five_processes.current:
        logs = five_processes.current.read_logs(_log_position)
        _log_position += len(logs)
        if report.failed and logs:
            report.sections.append(("Logs of the five processes", logs))
    return report
