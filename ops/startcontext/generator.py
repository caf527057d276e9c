"""Names, files and the line in the context map of a new context."""

import builtins
import keyword
import re
from pathlib import Path
from string import Template
from typing import NamedTuple

from django.apps import apps
from django.conf import settings

FILES_FOLDER = Path(__file__).with_name("files")
MAP_SECTION = "[importlinter:contract:context-map]"
MAX_OWNS_CHARACTERS = 90
# Databases and hosts of a deployment with these names exist already.
RESERVED_NAMES = ("database", "default", "directory", "gateway")
RESERVED_NOUNS = ("event", "reference", "text", "user")  # the templates use these words for something else


class InvalidName(ValueError):
    """The name cannot be that of a new context."""


class ContextNames(NamedTuple):
    """The words from which the names in a new context are formed: `reviews` has a table of `review`."""

    context: str
    noun: str
    owns: str

    def build_substitutions(self, invariant_number: int) -> dict[str, str]:
        """Return the values of the placeholders in the templates."""
        article = "an" if self.noun[0] in "aeiou" else "a"
        return {
            "context": self.context,
            "Context": self.context.capitalize(),
            "noun": self.noun,
            "Noun": self.noun.capitalize(),
            "a_noun": f"{article} {self.noun}",
            "A_noun": f"{article.capitalize()} {self.noun}",
            "owns": self.owns,
            "number": str(invariant_number),
        }


def build_names(context: str, noun: str | None, owns: str, root: Path) -> ContextNames:
    """Return the names of a new context. Raises InvalidName with the reason if one of them cannot be used."""
    _check_word("The name of a context", context)
    if reason := _find_conflict(context, root):
        raise InvalidName(f"{context} is taken: {reason}. Choose another name")
    singular = noun or _derive_singular(context)
    _check_word("--noun", singular)
    if singular == context:
        raise InvalidName(f"--noun is {singular}, as the context: use a plural for the context and its singular here")
    if singular in RESERVED_NOUNS:
        raise InvalidName(f"--noun cannot be {singular}, which the templates use: choose a more specific word")
    text = owns.strip().removesuffix(".")
    if not text.isprintable() or re.search(r'["\\$]', text) or not 1 <= len(text) <= MAX_OWNS_CHARACTERS:
        raise InvalidName(
            f'--owns has to be one line of 1 to {MAX_OWNS_CHARACTERS} characters without ", $ and backslash, '
            "such as: product reviews and their moderation"
        )
    return ContextNames(context, singular, text)


def _check_word(what: str, word: str) -> None:
    if not re.fullmatch(r"[a-z]{3,30}", word):
        raise InvalidName(
            f"{what} has to be 3 to 30 lower-case letters, because URLs, hosts and tables use it: {word!r}"
        )
    if keyword.iskeyword(word) or keyword.issoftkeyword(word) or hasattr(builtins, word):
        raise InvalidName(f"{what} cannot be {word}, which is a word of Python")


def _find_conflict(context: str, root: Path) -> str:
    """Return the reason why a name is taken, an empty string if it is free."""
    if context in RESERVED_NAMES:
        return "deployments use this name"
    if any(config.label == context for config in apps.get_app_configs()):
        return "an installed app has this label"
    if hasattr(settings, f"{context.upper()}_URL"):
        return f"{context.upper()}_URL is another setting"
    for folder in (root / "contexts" / context, root / "tests" / context, root / context):
        if folder.exists():
            return f"{folder.relative_to(root)} exists"
    return ""


def _derive_singular(context: str) -> str:
    if context.endswith("ies"):
        return f"{context[:-3]}y"
    if context.endswith("s") and not context.endswith("ss"):
        return context[:-1]
    raise InvalidName(f"{context} is not a plural that ends in s: give the singular with --noun")


def write_files(names: ContextNames, invariant_number: int, root: Path) -> list[Path]:
    """Write the files of a context and of its tests. Returns their paths."""
    substitutions = names.build_substitutions(invariant_number)
    written = []
    for template in sorted(FILES_FOLDER.rglob("*.tpl")):
        part, *rest = template.relative_to(FILES_FOLDER).with_suffix("").parts
        folder = root / ("contexts" if part == "context" else "tests") / names.context
        file = folder.joinpath(*(Template(one).substitute(substitutions) for one in rest))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(Template(template.read_text()).substitute(substitutions))
        written.append(file)
    return written


def add_to_map(context: str, text: str) -> str:
    """Return the text of .importlinter with a context in the lowest layer of the context map, where it calls no other."""
    lines = text.split("\n")
    start = lines.index("layers =", lines.index(MAP_SECTION)) + 1
    end = next(n for n in range(start, len(lines)) if not lines[n].startswith(" "))
    lines[end - 1] += f" | {context}"
    return "\n".join(lines)
