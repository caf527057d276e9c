"""The folder in which clients are generated and compiled: tools from npm and PyPI, and the document of a running shop.

The tools are installed once per lock file, into `.clients` at the root of the tree.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

from django.conf import settings

SOURCE = Path(__file__).parent
TOOLS = settings.BASE_DIR / ".clients"
NODE_FILES = ("package.json", "package-lock.json")
PYTHON_FILE = "requirements.txt"
COPIED = ("tsconfig.json", "orval.config.mjs", "redocly.yaml", ".spectral.yaml", "journeys")
QUIET = {"REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true", "DO_NOT_TRACK": "1", "CI": "true"}


def run(*command: str, folder: Path, **environment: str) -> str:
    """Run a command, and return what it prints. An error shows all of its output."""
    done = subprocess.run(
        command, cwd=folder, env=os.environ | QUIET | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def _read_stamp(names: tuple[str, ...]) -> str:
    return hashlib.sha256(b"".join((SOURCE / name).read_bytes() for name in names)).hexdigest()


def _install(stamp: Path, names: tuple[str, ...], *commands: list[str]) -> None:
    """Run the commands unless they have run for the present content of these files."""
    if stamp.exists() and stamp.read_text() == _read_stamp(names):
        return
    TOOLS.mkdir(exist_ok=True)
    for name in names:
        shutil.copy(SOURCE / name, TOOLS)
    for command in commands:
        run(*command, folder=TOOLS)
    stamp.write_text(_read_stamp(names))


def install_tools() -> None:
    """Install the locked tools. Hashes are verified, and install scripts of packages do not run."""
    npm = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    _install(TOOLS / "node.stamp", NODE_FILES, npm)
    pip = ["python/bin/python", "-m", "pip", "install", "--quiet", "--require-hashes", "-r", PYTHON_FILE]
    _install(TOOLS / "python.stamp", (PYTHON_FILE,), [sys.executable, "-m", "venv", "--clear", "python"], pip)


class Workspace:
    """A folder with the tools, the journeys, and the document of the shop at `site`."""

    def __init__(self, folder: Path, site: str) -> None:
        self.folder, self.site = folder, site
        for name in COPIED:
            copy = shutil.copytree if (SOURCE / name).is_dir() else shutil.copy
            copy(SOURCE / name, folder / name)
        shutil.copy(SOURCE / "package.json", folder)
        (folder / "node_modules").symlink_to(TOOLS / "node_modules")
        with urllib.request.urlopen(f"{site}/api/openapi.json", timeout=30) as response:
            (folder / "openapi.json").write_bytes(response.read())

    def node(self, tool: str, *arguments: str) -> str:
        """Run a tool of npm."""
        return run(f"node_modules/.bin/{tool}", *arguments, folder=self.folder)

    def run_journey(self, *command: str) -> str:
        """Run a compiled journey against the shop."""
        return run(*command, folder=self.folder, SITE_URL=self.site, PYTHONPATH=str(self.folder / "generated"))

    def python(self, tool: str, *arguments: str) -> str:
        """Run a tool of the Python environment, which finds its own tools first."""
        path = f"{TOOLS / 'python' / 'bin'}{os.pathsep}{os.environ['PATH']}"
        return run(str(TOOLS / "python" / "bin" / tool), *arguments, folder=self.folder, PATH=path)
