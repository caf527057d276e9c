"""What a run in five processes says about itself: who crossed how often, and what the five logged while a test failed."""

from collections import Counter
from pathlib import Path

import pytest

from tests.topologies import calls, five

KINDS = ("requests", "calls by tests", "calls", "facts handed over")
crossed: dict[str, Counter[str]] = {}  # by the folder of the tests
_before: Counter[str] = Counter()
_read = 0  # characters of the logs


def folder_ends(folder: Path) -> None:
    """Note what has crossed since the one before it."""
    global _before
    if five.current:
        now = _until_now(five.current)
        crossed.setdefault(folder.name, Counter()).update(now - _before)
        _before = now


def _until_now(shop: five.Five) -> Counter[str]:
    among = sum(shop.calls().values(), Counter())
    facts = sum(often for method, often in among.items() if method.endswith(".inbox.accept"))
    counts = (shop.requests, sum(calls.made.values()), sum(among.values()) - facts, facts)
    return Counter(dict(zip(KINDS, counts, strict=True)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if crossed:
        terminalreporter.line("Between processes:" + "".join(f"{kind:>19}" for kind in KINDS))
        for folder, often in crossed.items():
            terminalreporter.line(f"{folder:18}" + "".join(f"{often[kind]:19,}" for kind in KINDS))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    global _read
    report = yield
    if five.current:
        said = five.current.said(_read)
        _read += len(said)
        if report.failed and said:
            report.sections.append(("What the five logged", said))
    return report
