"""A copy of the shop's packages, to plant a violation in."""

import shutil

import pytest
from django.conf import settings

PACKAGES = ("config", "contexts", "shop")
FILES = (".importlinter", "manage.py")


@pytest.fixture
def tree(tmp_path):
    """The packages and the linter's rules, in a folder where nothing else stands."""
    for package in PACKAGES:
        shutil.copytree(settings.BASE_DIR / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    for file in FILES:
        shutil.copy(settings.BASE_DIR / file, tmp_path / file)
    return tmp_path


@pytest.fixture
def plant(tree):
    """Append a line to a module of the copy, which is a file or a package of that name."""

    def plant(module, line):
        package = tree.joinpath(*module.split("."))
        file = package / "__init__.py" if package.is_dir() else package.with_suffix(".py")
        file.parent.mkdir(exist_ok=True)
        before = file.read_text() if file.exists() else '"""Planted."""\n'
        file.write_text(f"{before}\n{line}\n")
        return tree

    return plant
