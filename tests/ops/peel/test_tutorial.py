"""The commands of docs/peeling.md work, typed line by line."""

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from django.conf import settings

from tests.concurrency import eventually
from tests.ports import reserve_port

PAGE = settings.BASE_DIR / "docs" / "peeling.md"
BLOCK = re.compile(r"```sh\n# terminal (\d)\n(.*?)```", re.DOTALL)
KEPT_VARIABLES = ("PATH", "HOME", "LANG", "TMPDIR")
PORTS_BY_TERMINAL = {"1": 8000, "3": 8100}  # ports in the text, by the terminal in which a shop runs


class Terminal:
    """A terminal in which one shell runs after the other; Ctrl-C stops the last one before the next commands."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self.running: subprocess.Popen | None = None

    def type(self, text: str, port: int) -> None:
        self.interrupt()
        environment = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
        self.running = subprocess.Popen(
            ["bash", "-ec", text], cwd=settings.BASE_DIR, env=environment, stdout=self.log.open("a"), stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
        eventually(lambda: self.running.poll() is not None or is_ready(port))
        assert self.running.poll() is None, self.log.read_text()

    def interrupt(self) -> None:
        if self.running and self.running.poll() is None:
            os.killpg(self.running.pid, signal.SIGINT)
            self.running.wait(40)


def is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=5) as response:
            return response.status == 200
    except OSError:
        return False


@pytest.fixture
def ports():
    """Choose ports to use instead of 8000 and 8100; each of them and the next one, for other processes, are free."""
    while True:
        first = reserve_port()
        if all(is_free(port) for port in range(first, first + 4)):
            return {8000: first, 8100: first + 2}


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def test_the_tutorial_moves_payments_out_and_back(tmp_path, ports):
    def localize(text: str) -> str:
        """Replace data folder, ports and interpreter by those of the test."""
        port = "" if "shop.env" in text else f"PORT={ports[8000]} "
        text = text.replace("make up", f"exec env {port}DATA_DIR={tmp_path} .venv/bin/python -m ops.launch.up")
        text = text.replace(".venv/bin/python -m ops.launch.serve", "exec .venv/bin/python -m ops.launch.serve")
        text = text.replace(".venv/bin/python", sys.executable).replace(".data", str(tmp_path))
        return re.sub("8[01]00", lambda found: str(ports[int(found[0])]), text)

    blocks = BLOCK.findall(PAGE.read_text())
    assert len(blocks) == PAGE.read_text().count("```sh")
    terminals = {number: Terminal(tmp_path / f"terminal-{number}") for number in PORTS_BY_TERMINAL}
    typed = ""
    try:
        for number, text in blocks:
            if number in terminals:
                terminals[number].type(localize(text), ports[PORTS_BY_TERMINAL[number]])
            else:
                variables = "\n".join(line for line in typed.splitlines() if line.startswith(("set -a", "TO=")))
                typed += localize(text)
                done = subprocess.run(
                    ["bash", "-eo", "pipefail", "-c", f"{variables}\n{localize(text)}"], cwd=settings.BASE_DIR,
                    env={name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ},
                    capture_output=True, text=True, check=False,
                )  # fmt: skip
                assert done.returncode == 0, f"{text}\n{done.stdout}{done.stderr}"
    finally:
        for terminal in terminals.values():
            terminal.interrupt()
