"""Check that names, docstrings, comments and headings use the vocabulary of the field.

    .venv/bin/python -m tests.architecture.vocabulary               check, as `make lint` does
    .venv/bin/python -m tests.architecture.vocabulary --list TEXT   print the occurrences of matching expressions
    .venv/bin/python -m tests.architecture.vocabulary --update      lower the limits to the present counts

EXPRESSIONS has what not to write and what to write instead. vocabulary.json has the number of remaining occurrences,
which may only fall; an expression that is not in it must not occur. Migrations and string constants are not checked.
"""

import argparse
import ast
import io
import json
import re
import sys
import tokenize
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from tests.architecture.sources import docstrings, python_files

ROOT = Path(__file__).parents[2]
LIMITS = Path(__file__).with_name("vocabulary.json")
PACKAGES = ("shop", "contexts", "config", "ops", "bench", "tests")
DOCUMENTS = "docs/*.md"

# Pattern: words that are written instead.
EXPRESSIONS = {
    "at rest": "idle, settled",
    "breath(s|e)?": "interval",
    "by hand": "directly, manually",
    "(carries|carry|carried) (it )?on": "continue, resume",
    "(comes|came|come) to nothing": "is rejected, is cancelled, fails",
    "(gives?|gave|given) back": "release, refund, return",
    "goes by": "uses, passes",
    "(has|have) to say": "the value, the content",
    "(hears?|heard|hearing)": "receive, subscribe",
    "in hand": "in progress",
    "(is|are) away": "is unavailable, is missing",
    "(is|are) gone": "is missing, is deleted",
    "(looks?|looked) again": "retry, check again",
    "mystery|mysteries": "unknown outcome, unreadable reply",
    "nobody": "no caller, no process, none",
    "not understood": "invalid",
    "on (its|their) way": "in transit, pending",
    "one of its own": "its own",
    "patience": "timeout",
    "reach by": "transport",
    "refuse beside": "assert no other",
    "said|says": "report, return, state",
    "(sets?|setting) aside": "reserve, authorize",
    "so long": "a duration",
    "so many": "a quantity",
    "somebody": "a user, a process",
    "story|stories": "history, scenario",
    "the books": "the database, the ledger",
    "to and fro": "a round trip",
    "told|tells": "notify, report, publish",
    "too few": "shortage",
    "(turns?|turned) round": "compensate",
    "twins?": "copy, duplicate",
    "what it holds": "its content",
    "whoever": "the caller, the process",
    "wish(es|ed)?": "request",
}
PATTERNS = {expression: re.compile(rf"\b(?:{expression})\b", re.IGNORECASE) for expression in EXPRESSIONS}

# A docstring starts with a verb or a noun, not with a clause that stands for one.
RELATIVE_CLAUSE = "docstring that starts with a relative clause"
RELATIVE_PRONOUN = re.compile(r"(what|whatever|where|whether|who|whoever|whose|nobody|somebody)\b", re.IGNORECASE)
ADVICE = EXPRESSIONS | {RELATIVE_CLAUSE: "an imperative sentence, or a noun for a class"}


# Names that are stored, or belong to a command, an output or another system: they cannot be renamed.
EXEMPT = (
    "nobody uid",  # the user of the operating system
    "user `nobody`",
    "manage.py chaos story",
    "carry on due checkouts",  # a timer
    "hears",  # a member of `manage.py contexts --json`
    "asks for what is gone",  # a part of the hash of tests/topologies/state.json
)


class Occurrence(NamedTuple):
    """A place where an expression is used."""

    expression: str
    file: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.text}"


def find_occurrences(root: Path) -> list[Occurrence]:
    """Return all occurrences in the source files and in the headings of the documentation."""
    found: list[Occurrence] = []
    for file in (file for package in PACKAGES for file in python_files(root / package)):
        if "migrations" not in file.parts:
            found += find_in_module(str(file.relative_to(root)), file.read_text())
    for document in sorted(root.glob(DOCUMENTS)):
        lines = enumerate(document.read_text().splitlines(), 1)
        headings = ((number, line) for number, line in lines if line.startswith("#"))
        found += _match(str(document.relative_to(root)), headings)
    return found


def find_in_module(file: str, source: str) -> list[Occurrence]:
    """Return the occurrences in the names, docstrings and comments of a module, and in its own name."""
    tree = ast.parse(source)
    names = ((line, split_name(name)) for line, name in [(1, Path(file).stem), *iter_names(tree)])
    documentation = [(node.lineno, ast.literal_eval(node.value)) for node in docstrings(tree).values()]
    found = [*_match(file, names), *_match(file, documentation), *_match(file, iter_comments(source))]
    found += [
        Occurrence(RELATIVE_CLAUSE, file, line, text.strip().partition("\n")[0])
        for line, text in documentation
        if RELATIVE_PRONOUN.match(text.strip())
    ]
    return found


def _match(file: str, texts: Iterable[tuple[int, str]]) -> Iterator[Occurrence]:
    for start, text in texts:
        for expression, around in _find_expressions(text):
            yield Occurrence(expression, file, start, around)


@cache  # most names occur many times
def _find_expressions(text: str) -> list[tuple[str, str]]:
    """Return each match as its expression and the text around it."""
    joined = re.sub(r"\s+", " ", text)
    for name in EXEMPT:
        joined = joined.replace(name, "")
    return [
        (expression, joined[max(0, match.start() - 40) : match.end() + 40].strip())
        for expression, pattern in PATTERNS.items()
        for match in pattern.finditer(joined)
    ]


def iter_names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield every name in a module with its line."""
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        for attribute in ("id", "attr", "arg", "name", "asname", "rest"):
            if isinstance(name := getattr(node, attribute, None), str):
                yield line, name
        if isinstance(node, ast.Global | ast.Nonlocal):
            yield from ((line, name) for name in node.names)


def split_name(name: str) -> str:
    """Return the words of a name: `order_id`, `orderId` and `OrderId` are "order id"."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[_.]+", " ", name).lower()


def iter_comments(source: str) -> Iterator[tuple[int, str]]:
    """Yield the comments of a module; consecutive lines that are only a comment are one text."""
    block: list[str] = []
    first = previous = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            line = token.start[0]
            if block and line != previous + 1:
                yield first, " ".join(block)
                block = []
            first = line if not block else first
            previous = line
            block.append(token.string.lstrip("# "))
    if block:
        yield first, " ".join(block)


def load_limits() -> Counter[str]:
    """Read the allowed number of occurrences of each expression."""
    return Counter(json.loads(LIMITS.read_text()))


def find_excess(counts: Counter[str], limits: Counter[str]) -> list[str]:
    """Return the expressions that occur more often than allowed."""
    return sorted(expression for expression, count in counts.items() if count > limits[expression])


def find_unused_limits(counts: Counter[str], limits: Counter[str]) -> list[str]:
    """Return the expressions that occur less often than allowed."""
    return sorted(expression for expression, limit in limits.items() if counts[expression] < limit)


def lower_limits(counts: Counter[str], limits: Counter[str]) -> dict[str, int]:
    """Return the limits after the present counts: never higher than before, and without zeros."""
    lowered = {expression: min(counts[expression], limit) for expression, limit in limits.items()}
    return {expression: limit for expression, limit in sorted(lowered.items()) if limit}


def main(arguments: list[str]) -> int:
    """Run the command and return its exit status."""
    parser = argparse.ArgumentParser(prog="vocabulary", description="Check the vocabulary of names and docstrings.")
    parser.add_argument(
        "--list", metavar="TEXT", help="print the occurrences of the expressions that contain this text"
    )
    parser.add_argument("--update", action="store_true", help="lower the limits to the present counts")
    options = parser.parse_args(arguments)
    occurrences = find_occurrences(ROOT)
    if options.list is not None:
        print(*(one for one in occurrences if options.list in one.expression), sep="\n")
        return 0
    counts, limits = Counter(one.expression for one in occurrences), load_limits()
    if options.update:
        LIMITS.write_text(json.dumps(lower_limits(counts, limits), indent=1) + "\n")
        limits = load_limits()
    return report(occurrences, counts, limits)


def report(occurrences: list[Occurrence], counts: Counter[str], limits: Counter[str]) -> int:
    """Print what exceeds its limit or is below it, and return the exit status."""
    excess = find_excess(counts, limits)
    for expression in excess:
        print(
            f"{expression!r} occurs {counts[expression]} times, {limits[expression]} allowed. Write: {ADVICE[expression]}"
        )
        print(*(f"  {one}" for one in occurrences if one.expression == expression), sep="\n")
    for expression in find_unused_limits(counts, limits):
        print(
            f"{expression!r} occurs {counts[expression]} times, {limits[expression]} allowed. Lower it with --update."
        )
    print(f"vocabulary: {len(excess)} expressions above their limit, {counts.total()} occurrences in all")
    return 1 if excess else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
