"""The commands of docs/peeling.md work, typed line by line."""

import json
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
from tests.process_trees import find_child_pids

PAGE = settings.BASE_DIR / "docs" / "peeling.md"
BLOCK = re.compile(r"```sh\n# terminal (\d)\n(.*?)```", re.DOTALL)
KEPT_VARIABLES = ("PATH", "HOME", "LANG", "TMPDIR")
PORTS_BY_TERMINAL = {"1": 8000, "3": 8100}  # ports in the text, by the terminal in which a shop runs


class Terminal:
    """A shell into which commands are typed one after the other, as a person does: what they set stays set."""

    def __init__(self, log: Path) -> None:
        self.log, self.blocks = log, 0
        self.shell = subprocess.Popen(
            ["bash", "-o", "pipefail"], cwd=settings.BASE_DIR, stdin=subprocess.PIPE,
            stdout=log.open("a"), stderr=subprocess.STDOUT,
            env={name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}, text=True, start_new_session=True,
        )  # fmt: skip
        self._write("trap : INT")  # Ctrl-C ends the command, not the shell

    def serve(self, text: str, port: int) -> None:
        """Press Ctrl-C to end the last command, type one that runs on, and wait until a shop is ready at the port."""
        self.interrupt()
        self._write(f"{text}\necho ended-{self.blocks}")
        eventually(lambda: self.has_ended() or is_ready(port))
        assert not self.has_ended(), self.log.read_text()

    def run(self, text: str) -> None:
        """Type commands, and wait until they have ended. Each has to succeed."""
        self._write(f"set -e\n{text}\nset +e\necho ended-{self.blocks}")
        eventually(lambda: self.has_ended() or self.shell.poll() is not None)
        assert self.shell.poll() is None, self.log.read_text()
        self.blocks += 1

    def has_ended(self) -> bool:
        return f"ended-{self.blocks}\n" in self.log.read_text()

    def interrupt(self) -> None:
        """Press Ctrl-C, unless nothing runs, and wait for the end of the command."""
        if self.is_serving():
            os.killpg(self.shell.pid, signal.SIGINT)
            eventually(self.has_ended)
            self.blocks += 1

    def is_serving(self) -> bool:
        return bool(find_child_pids(self.shell.pid))

    def close(self) -> None:
        self.interrupt()
        self.shell.stdin.close()
        self.shell.wait(40)

    def _write(self, text: str) -> None:
        self.shell.stdin.write(text + "\n")
        self.shell.stdin.flush()


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
        text = text.replace("make up", f"env {port}DATA_DIR={tmp_path} .venv/bin/python -m ops.launch.up")
        text = text.replace(".venv/bin/python", sys.executable).replace(".data", str(tmp_path))
        return re.sub("8[01]00", lambda found: str(ports[int(found[0])]), text)

    blocks = BLOCK.findall(PAGE.read_text())
    assert len(blocks) == PAGE.read_text().count("```sh")
    terminals = {number: Terminal(tmp_path / f"terminal-{number}") for number in {number for number, _ in blocks}}
    try:
        for number, text in blocks:
            if number in PORTS_BY_TERMINAL:
                terminals[number].serve(localize(text), ports[PORTS_BY_TERMINAL[number]])
            else:
                terminals[number].run(localize(text))
        with urllib.request.urlopen(f"http://127.0.0.1:{ports[8000]}/ready", timeout=5) as response:
            ready = json.load(response)
        assert set(ready["contexts"]) == set(settings.ALL_CONTEXTS) and ready["elsewhere"] == {}, (
            "the shop is whole again"
        )
        again = "\n".join(line for line in blocks[1][1].splitlines() if not line.startswith("set -a"))
        terminals["2"].run(localize(again))  # nothing of the first time is in the way of a second one
        terminals["2"].run(localize(".venv/bin/python -m ops.launch.postgres .data/elsewhere stop"))
    finally:
        for terminal in terminals.values():
            terminal.close()
