"""Planted bugs as data: a replacement in a module, and the test that has to fail because of it.

Each folder of tests lists the bugs that its tests catch in a file `mutants.py`:

    Mutant(
        name="relay_pages_by_id",
        what="the relay claims deliveries in the order of their ids",
        rule="protocol 2.1: commit order, not id order",
        module="shop.messaging.relay",
        replace="ORDER BY due_at",
        by="ORDER BY id",
        caught_by="tests/shop/messaging/test_relay.py::test_...",
    )

`replace` has to occur exactly once in the module, so that a bug cannot be planted in the wrong place.
"""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).parents[2]
PRODUCT = ("config", "contexts", "ops", "shop")


class DoesNotApply(Exception):
    """The text that a mutant replaces does not occur exactly once."""


@dataclass(frozen=True)
class Change:
    """One replacement in the source of a module."""

    module: str
    replace: str
    by: str

    @property
    def file(self) -> str:
        """The module's path below the root of the tree."""
        return f"{self.module.replace('.', '/')}.py"


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """A bug that is planted alone, and the test that catches it.

    what: what the shop does wrong then. rule: the broken rule, with the document that has it, if one does.
    fails_with: the start of the failure's message, where the test fails by an error and not by an assertion.
    also: further replacements that belong to the same bug.
    """

    name: str
    what: str
    rule: str
    module: str
    replace: str
    by: str
    caught_by: str
    fails_with: str = ""
    also: tuple[Change, ...] = ()

    @property
    def changes(self) -> tuple[Change, ...]:
        return (Change(self.module, self.replace, self.by), *self.also)


def mutants() -> list[Mutant]:
    """Return all planted bugs, sorted by name."""
    files = sorted((ROOT / "tests").rglob("mutants.py"))
    modules = [".".join(file.relative_to(ROOT).with_suffix("").parts) for file in files]
    found: list[Mutant] = [mutant for module in modules for mutant in import_module(module).MUTANTS]
    return sorted(found, key=lambda mutant: mutant.name)


def applied(mutant: Mutant, root: Path) -> dict[str, str]:
    """Return the sources of the modules that the mutant changes, with the bug in them. Raises DoesNotApply."""
    texts: dict[str, str] = {}
    for change in mutant.changes:
        if not (root / change.file).is_file():
            raise DoesNotApply(f"there is no {change.file}")
        text = texts.get(change.file) or (root / change.file).read_text()
        if (times := text.count(change.replace)) != 1:
            raise DoesNotApply(f"the text to replace occurs {times} times in {change.file}")
        texts[change.file] = text.replace(change.replace, change.by)
    return texts


def plant(mutant: Mutant, root: Path) -> None:
    """Write the bug into a copy of the tree. Raises DoesNotApply."""
    for file, text in applied(mutant, root).items():
        (root / file).write_text(text)


def problems(found: Iterable[Mutant], root: Path = ROOT) -> list[str]:
    """List what is wrong with the mutants themselves, each problem with the mutant's name."""
    result: list[str] = []
    names: set[str] = set()
    for mutant in found:
        if mutant.name in names:
            result.append(f"{mutant.name}: the name is taken")
        names.add(mutant.name)
        try:
            result += [f"{mutant.name}: {problem}" for problem in _problems(mutant, root)]
        except (DoesNotApply, SyntaxError) as error:
            result.append(f"{mutant.name}: {error}")
    return result


def _problems(mutant: Mutant, root: Path) -> Iterator[str]:
    for change in mutant.changes:
        if change.module.partition(".")[0] not in PRODUCT:
            yield f"changes {change.module}, which is not part of the product"
        if change.replace == change.by:
            yield "changes nothing"
    for text in applied(mutant, root).values():
        ast.parse(text)
    file, _, test = mutant.caught_by.partition("::")
    name = test.partition("[")[0]
    if not (root / file).is_file() or f"\ndef {name}(" not in (root / file).read_text():
        yield f"there is no test {mutant.caught_by}"
