"""Planted bugs: one small patch each, headed by what is wrong, the rule that it breaks, and the test that notices.

    # what: a delivery does not wait for earlier ones of its stream
    # rule: PROTOCOL 2.2, ...
    # caught by: tests/shop/test_relay.py::test_...
    # fails with: django.db.utils.OperationalError        (only where it is no assertion that fails)
    --- a/shop/relay.py
    +++ b/shop/relay.py
    @@ ...

`git apply` takes them too. Here they are applied without git, which neither an export nor `make test` needs.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PATCHES = Path(__file__).parent
PRODUCT = ("config/", "contexts/", "shop/")

HEADER = re.compile(r"# (what|rule|caught by|fails with): (.+)")
FILE = re.compile(r"\+\+\+ b/(\S+)")
HUNK = re.compile(r"@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@")


class DoesNotApply(Exception):
    """The lines that a patch wants to change are not there, or not once."""


@dataclass(frozen=True)
class Hunk:
    """Lines of a file, and what they become."""

    file: str
    before: str
    after: str


@dataclass(frozen=True)
class Mutant:
    """A bug to be planted alone."""

    name: str
    what: str
    rule: str
    caught_by: str
    fails_with: str
    hunks: tuple[Hunk, ...]


def read(file: Path) -> Mutant:
    """A patch file. Raises ValueError for one without its header or without a change."""
    lines = file.read_text().splitlines()
    header = {found[1].replace(" ", "_"): found[2] for line in lines if (found := HEADER.fullmatch(line))}
    hunks = tuple(_hunks(iter(lines)))
    missing = [name for name in ("what", "rule", "caught_by") if name not in header]
    if missing or not hunks:
        raise ValueError(f"has no {', '.join(missing) or 'change'}")
    return Mutant(file.stem, hunks=hunks, **({"fails_with": ""} | header))


def mutants(folder: Path = PATCHES) -> list[Mutant]:
    """All planted bugs, by name. Raises ValueError."""
    return [read(file) for file in sorted(folder.glob("*.patch"))]


def _hunks(lines: Iterator[str]) -> Iterator[Hunk]:
    file = ""
    for line in lines:
        if found := FILE.fullmatch(line):
            file = found[1]
        elif found := HUNK.match(line):
            yield _hunk(file, lines, int(found[1] or 1), int(found[2] or 1))


def _hunk(file: str, lines: Iterator[str], old: int, new: int) -> Hunk:
    before: list[str] = []
    after: list[str] = []
    while len(before) < old or len(after) < new:
        line = next(lines, None)
        if line is None:
            raise ValueError("is cut off")
        if not line.startswith("+"):
            before.append(line[1:])
        if not line.startswith("-"):
            after.append(line[1:])
    return Hunk(file, *("".join(f"{line}\n" for line in side) for side in (before, after)))


def applied(mutant: Mutant, root: Path) -> dict[str, str]:
    """The texts of the files that the bug changes, with it. Raises DoesNotApply."""
    texts: dict[str, str] = {}
    for hunk in mutant.hunks:
        if not (root / hunk.file).is_file():
            raise DoesNotApply(f"there is no {hunk.file}")
        text = "\n" + (texts.get(hunk.file) or (root / hunk.file).read_text())
        times = text.count("\n" + hunk.before)
        if times != 1:
            raise DoesNotApply(f"what it changes is {times} times in {hunk.file}")
        texts[hunk.file] = text.replace("\n" + hunk.before, "\n" + hunk.after)[1:]
    return texts


def plant(mutant: Mutant, root: Path) -> None:
    """Change the files of a copy of the tree. Raises DoesNotApply."""
    for file, text in applied(mutant, root).items():
        (root / file).write_text(text)


def problems(root: Path = ROOT, folder: Path = PATCHES) -> list[str]:
    """What is wrong with the patches themselves, each with its name: they rot as the code moves on."""
    found = []
    for file in sorted(folder.glob("*.patch")):
        try:
            found += [f"{file.stem}: {problem}" for problem in _problems(read(file), root)]
        except (ValueError, DoesNotApply, SyntaxError) as error:
            found.append(f"{file.stem}: {error}")
    return found


def _problems(mutant: Mutant, root: Path) -> Iterator[str]:
    for file, text in applied(mutant, root).items():
        if not file.startswith(PRODUCT):
            yield f"changes {file}, which is not the product's"
        ast.parse(text)
    file, _, test = mutant.caught_by.partition("::")
    name = test.partition("[")[0]
    if not (root / file).is_file() or f"\ndef {name}(" not in (root / file).read_text():
        yield f"there is no test {mutant.caught_by}"
