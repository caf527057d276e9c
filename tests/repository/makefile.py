"""Read the Makefile as make does."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from django.conf import settings

ROOT = settings.BASE_DIR
# The suite may itself run under make, whose variables must not reach the make that a test runs.
ENVIRONMENT = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}


def make(*arguments: str, folder: Path = ROOT) -> str:
    """Run make and return its output."""
    command = ["make", "--no-print-directory", *arguments]
    return subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=True).stdout


def commands(*arguments: str, folder: Path = ROOT) -> list[str]:
    """Return the commands that make would run in an installed environment, one a line."""
    output = make("--dry-run", "--old-file=.venv/dev.stamp", "--old-file=.venv/up.stamp", *arguments, folder=folder)
    return output.replace("\\\n", "").splitlines()


def targets(folder: Path = ROOT) -> set[str]:
    """Return the targets that a person can name: all but files and special targets."""
    return set(re.findall(r"^([a-z][a-z-]*):(?!=)", (folder / "Makefile").read_text(), re.MULTILINE))


def copy_with(folder: Path, addition: str) -> Path:
    """Copy the Makefile into a folder, with an addition at its end."""
    shutil.copy(ROOT / "Makefile", folder)
    with (folder / "Makefile").open("a") as file:
        file.write(addition)
    return folder
