"""The registry of contexts: each folder of contexts/ with an apps.py. Standard library only, so that launchers can read it."""

from pathlib import Path

CONTEXTS_FOLDER = Path(__file__).resolve().parent.parent / "contexts"


def find_contexts(folder: Path = CONTEXTS_FOLDER) -> tuple[str, ...]:
    """Return the names of the contexts in alphabetical order."""
    return tuple(sorted(file.parent.name for file in folder.glob("*/apps.py")))


ALL_CONTEXTS = find_contexts()
