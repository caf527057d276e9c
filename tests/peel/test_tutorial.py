"""docs/peeling.md, line by line, as a newcomer would type it."""

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

from tests.config.trees import free_port
from tests.threads import eventually

PAGE = settings.BASE_DIR / "docs" / "peeling.md"
BLOCK = re.compile(r"```sh\n# terminal (\d)\n(.*?)```", re.DOTALL)
KEPT = ("PATH", "HOME", "LANG", "TMPDIR")
SAYS_WHEN_READY = {"1": 8000, "3": 8100}  # ports in the text, of what does not end by itself


class Terminal:
    """One shell after the other: what runs in it is stopped with Ctrl-C before something else is typed."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self.running: subprocess.Popen | None = None

    def type(self, text: str, port: int) -> None:
        self.interrupt()
        environment = {name: os.environ[name] for name in KEPT if name in os.environ}
        self.running = subprocess.Popen(
            ["bash", "-ec", text], cwd=settings.BASE_DIR, env=environment, stdout=self.log.open("a"), stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
        eventually(lambda: self.running.poll() is not None or ready(port), patience=90)
        assert self.running.poll() is None, self.log.read_text()

    def interrupt(self) -> None:
        if self.running and self.running.poll() is None:
            os.killpg(self.running.pid, signal.SIGINT)
            self.running.wait(40)


def ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=5) as response:
            return response.status == 200
    except OSError:
        return False


@pytest.fixture
def ports():
    """Where the text says 8000 and 8100; the next one each is for other processes: four in a row that are free."""
    while True:
        first = free_port()
        if all(is_free(port) for port in range(first, first + 4)):
            return {8000: first, 8100: first + 2}


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def test_a_newcomer_peels_payments_and_brings_it_back(tmp_path, ports):
    def here(text: str) -> str:
        """The same with a data folder, ports and an interpreter of the test's own."""
        port = "" if "shop.env" in text else f"PORT={ports[8000]} "
        text = text.replace("make up", f"exec env {port}DATA_DIR={tmp_path} .venv/bin/python -m config.up")
        text = text.replace(".venv/bin/python -m config.serve", "exec .venv/bin/python -m config.serve")
        text = text.replace(".venv/bin/python", sys.executable).replace(".data", str(tmp_path))
        return re.sub("8[01]00", lambda found: str(ports[int(found[0])]), text)

    blocks = BLOCK.findall(PAGE.read_text())
    assert len(blocks) == PAGE.read_text().count("```sh")
    terminals = {number: Terminal(tmp_path / f"terminal-{number}") for number in SAYS_WHEN_READY}
    typed = ""
    try:
        for number, text in blocks:
            if number in terminals:
                terminals[number].type(here(text), ports[SAYS_WHEN_READY[number]])
            else:
                variables = "\n".join(line for line in typed.splitlines() if line.startswith(("set -a", "TO=")))
                typed += here(text)
                said = subprocess.run(
                    ["bash", "-eo", "pipefail", "-c", f"{variables}\n{here(text)}"], cwd=settings.BASE_DIR,
                    env={name: os.environ[name] for name in KEPT if name in os.environ},
                    capture_output=True, text=True, check=False,
                )  # fmt: skip
                assert said.returncode == 0, f"{text}\n{said.stdout}{said.stderr}"
    finally:
        for terminal in terminals.values():
            terminal.interrupt()
