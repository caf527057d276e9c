"""Run commands in children of a process that has imported the libraries, but nothing of the shop: each starts in a moment.

Most of the start of a command is the import of Django and other libraries. A test of settings or commands is interested in
what comes after it, with the environment that the test chooses.
"""

import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import traceback
from typing import Any

OURS = ("config", "contexts", "ops", "shop", "tests")
# What a start imports of them, as far as it can be imported before the settings are read.
LIBRARIES = (
    "corsheaders, inflection, psycopg_pool, pygments, pytest, requests, sqlparse, unittest.mock, uritemplate, yaml",
    "django.core.mail, django.core.management, django.core.servers.basehttp, django.db.migrations.executor, django.db.models",
    "django.forms, django.template.loader, django.test, django.views.generic",
)
MAIN = (
    "\n".join([f"import {names}" for names in LIBRARIES])
    + """
from config import settings
from tests.preloaded_python import serve
serve()
"""
)
COMMAND_TIMEOUT_SECONDS = 120  # a server that starts although it should not would run forever


class PreloadedPython:
    """The process as a test sees it."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", MAIN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, *arguments: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
        """Run what `python` would run with these arguments: -c CODE, -m MODULE ... or FILE ..."""
        self.process.stdin.write(json.dumps([arguments, environment]) + "\n")
        self.process.stdin.flush()
        return subprocess.CompletedProcess(arguments, **json.loads(self.process.stdout.readline()))

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()


def serve() -> None:
    """Run one command after the other, each in a child, until the input ends."""
    for name in [name for name in sys.modules if name.partition(".")[0] in OURS]:
        del sys.modules[name]
    for line in sys.stdin:
        arguments, environment = json.loads(line)
        print(json.dumps(_run(arguments, environment)), flush=True)


def _run(arguments: list[str], environment: dict[str, str]) -> dict[str, Any]:
    with tempfile.TemporaryFile("w+") as stdout, tempfile.TemporaryFile("w+") as stderr:
        child = os.fork()
        if not child:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(stdout.fileno(), 1)
            os.dup2(stderr.fileno(), 2)
            signal.alarm(COMMAND_TIMEOUT_SECONDS)
            os._exit(_execute(arguments, environment))
        _, status = os.waitpid(child, 0)
        stdout.seek(0)
        stderr.seek(0)
        return {
            "returncode": os.waitstatus_to_exitcode(status),
            "stdout": stdout.read(),
            "stderr": stderr.read(),
        }


def _execute(arguments: list[str], environment: dict[str, str]) -> int:
    """Execute the command in this process, and return its exit status as Python does."""
    os.environ.clear()
    os.environ.update(environment)
    status: object = None
    try:
        _execute_main(arguments)
    except SystemExit as end:
        status = end.code
    except BaseException:
        traceback.print_exc()
        status = 1
    if isinstance(status, str):
        print(status, file=sys.stderr)
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return int(status or 0)


def _execute_main(arguments: list[str]) -> None:
    if arguments[0] == "-c":
        sys.argv = arguments
        exec(arguments[1], {"__name__": "__main__"})
    elif arguments[0] == "-m":
        sys.argv = arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = arguments
        runpy.run_path(arguments[0], run_name="__main__")
