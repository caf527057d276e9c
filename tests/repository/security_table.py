"""Read the tables of docs/security.md: the requirements of OWASP ASVS, and the tests that show them."""

import ast
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import NamedTuple

from tests.repository.documents import ROOT

REQUIREMENTS = ROOT / "tests" / "repository" / "asvs.txt"
STATES = ("met", "documented", "operator", "n/a", "not met")
LEAST_REASON_LENGTH = 6  # characters, as in "No XML"
_ROW = re.compile(
    r"^\| (V\d+\.\d+\.\d+) \| ([12]) \| ([^|]+) \| \*\*([^|*]+)\*\* \| ((?:[^|`]|`[^`]*`)+) \|$", re.MULTILINE
)
_TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
_LINK = re.compile(r"\]\([^)\s]+\)")


class Row(NamedTuple):
    """A requirement, its state, and what shows it."""

    id: str
    level: str
    requirement: str
    state: str
    text: str

    @property
    def tests(self) -> list[tuple[str, str]]:
        """Return the tests that the row names: file and function."""
        return _TEST.findall(self.text)


def read_requirements() -> dict[str, str]:
    """Return the level of each requirement, by id."""
    lines = [line for line in REQUIREMENTS.read_text().splitlines() if not line.startswith("#")]
    return dict(line.split(" ") for line in lines)


def read_rows(document: str) -> list[Row]:
    """Return the rows of the tables. Raises ValueError for a row of a requirement that cannot be read."""
    rows = [Row(*found) for found in _ROW.findall(document)]
    written = re.findall(r"^\| *(V\d+\S*)", document, re.MULTILINE)
    if unreadable := set(written) - {row.id for row in rows}:
        raise ValueError(f"rows that cannot be read: {sorted(unreadable)}")
    return rows


def find_problems(rows: Iterable[Row]) -> list[str]:
    """Return what is wrong with rows: a state without what it needs, and tests that do not exist."""
    return [f"{row.id}: {problem}" for row in rows for problem in _check(row)]


def _check(row: Row) -> list[str]:
    problems = [f"there is no {file}::{name}" for file, name in row.tests if name not in _list_tests(ROOT / file)]
    if row.state not in STATES:
        problems.append(f"{row.state} is no state")
    if row.state == "met" and not row.tests:
        problems.append("no test shows it")
    if row.state == "documented" and not _LINK.search(row.text):
        problems.append("no document is linked")
    if len(row.text) < LEAST_REASON_LENGTH:
        problems.append("no reason is given")
    if row.text.count("tests/") != len(row.tests):
        problems.append("a test is named otherwise than `tests/…/test_….py::test_…`")
    return problems


@cache
def _list_tests(file: Path) -> frozenset[str]:
    if not file.is_file():
        return frozenset()
    functions = (node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.FunctionDef))
    return frozenset(node.name for node in functions)
