"""Run Python code with the packages of a lock file only: `python -m tests.ops.launch.locked_packages FILE CODE`.

Modules of other installed packages look as if they were not installed. This is faster than a new virtual environment, which
`make test-install` creates.
"""

import re
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.metadata import packages_distributions
from pathlib import Path


def read_locked_names(lock: Path) -> set[str]:
    """Return the normalized names of the packages in a lock file."""
    return {_normalize(name) for name in re.findall(r"^([A-Za-z0-9][\w.-]*)==", lock.read_text(), re.MULTILINE)}


def _normalize(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


class LockedPackages(MetaPathFinder):
    """Hide the modules of packages that are not locked."""

    def __init__(self, locked: set[str]) -> None:
        self.hidden = {
            module
            for module, owners in packages_distributions().items()
            if not locked & {_normalize(owner) for owner in owners}
        }

    def find_spec(self, name: str, path: Sequence[str] | None, target: object = None) -> ModuleSpec | None:
        if name.partition(".")[0] in self.hidden:
            raise ModuleNotFoundError(f"No locked package has the module {name!r}", name=name)
        return None


if __name__ == "__main__":
    sys.meta_path.insert(0, LockedPackages(read_locked_names(Path(sys.argv[1]))))
    exec(sys.argv[2])
