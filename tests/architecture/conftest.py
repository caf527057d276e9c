"""Fixtures that copy the packages of the shop and plant a violation in the copy."""

import shutil

import pytest
from django.conf import settings

from tests.architecture.sources import PACKAGES

FILES = (".importlinter", "manage.py")


@pytest.fixture
def tree(tmp_path):
    """Copy the packages and the contracts of import-linter to an empty folder."""
    for package in PACKAGES:
        shutil.copytree(settings.BASE_DIR / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    for file in FILES:
        shutil.copy(settings.BASE_DIR / file, tmp_path / file)
    return tmp_path


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
