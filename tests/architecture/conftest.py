"""Fixtures that copy the packages of the shop and plant a violation in the copy."""

import shutil
from pathlib import Path

import pytest
from django.conf import settings

from tests.architecture.sources import PACKAGES

FILES = (".importlinter", "manage.py")


class Copy:
    """The packages and the contracts of import-linter in another folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for package in PACKAGES:
            shutil.copytree(settings.BASE_DIR / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
        for file in FILES:
            shutil.copy2(settings.BASE_DIR / file, folder / file)
        self.stamps = self._read_stamps()

    def _read_stamps(self) -> dict[Path, tuple[int, int] | None]:
        """Return size and time of each file; None for a folder."""
        found = {path: None if path.is_dir() else path.stat() for path in self.folder.rglob("*")}
        return {path: stat and (stat.st_size, stat.st_mtime_ns) for path, stat in found.items()}

    def restore(self) -> None:
        """Undo all changes, so that the next test need not copy everything again."""
        stamps = self._read_stamps()
        for path in sorted(
            stamps.keys() - self.stamps.keys(), reverse=True
        ):  # the content of a folder before the folder
            if path.is_dir():
                path.rmdir()
            else:
                path.unlink()
        for path, stamp in self.stamps.items():
            if stamps.get(path) != stamp:
                shutil.copy2(settings.BASE_DIR / path.relative_to(self.folder), path)
        assert self._read_stamps() == self.stamps


@pytest.fixture(scope="session")
def copy_of_packages(tmp_path_factory):
    return Copy(tmp_path_factory.mktemp("packages"))


@pytest.fixture
def tree(copy_of_packages):
    """Return a folder with a copy of the packages and the contracts. The test may change them."""
    yield copy_of_packages.folder
    copy_of_packages.restore()


@pytest.fixture
def plant(tree):
    """Return a function that appends a line to a module of the copy and returns the folder of the copy."""

    def plant(module, line):
        package = tree.joinpath(*module.split("."))
        file = package / "__init__.py" if package.is_dir() else package.with_suffix(".py")
        file.parent.mkdir(exist_ok=True)
        before = file.read_text() if file.exists() else '"""Planted."""\n'
        file.write_text(f"{before}\n{line}\n")
        return tree

    return plant
