"""`make split`: what each process gets, and that one which ends is started again while the rest of the shop serves."""

import os
import signal
import socket
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path

from django.conf import settings

from ops.launch import keys, split
from ops.launch.split import INTERNAL_PORT_OFFSET
from tests.concurrency import eventually
from tests.ops.launch.test_up import KEPT_VARIABLES, find_available_sku
from tests.ports import reserve_port
from tests.process_trees import find_child_pids
from tests.public_keys import public_pem
from tests.shopper import Shopper


class SplitLauncher:
    """Run the launcher in its own folder. Use it with contextlib.closing."""

    def __init__(self, folder: Path) -> None:
        self.port, self.log = find_free_ports(), folder / "log"
        kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ops.launch.split"],
            env=kept | {"DATA_DIR": str(folder), "PORT": str(self.port)},
            stdout=self.log.open("w"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def await_ready(self) -> Shopper:
        eventually(lambda: "Ctrl-C" in self.log.read_text() or self.process.poll() is not None)
        assert self.process.poll() is None, self.log.read_text()
        return Shopper(f"http://127.0.0.1:{self.port}")

    def find_host(self, context: str) -> int:
        """Return the process id of the parent of a context's process tree."""
        for pid in find_child_pids(self.process.pid):
            with suppress(OSError):
                if f"CONTEXTS={context}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                    return pid
        return 0

    def close(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(120)


def find_free_ports() -> int:
    """Return a port of which all those that the launcher derives from it are free, too."""
    while True:
        first = reserve_port()
        if all(is_free(first + offset) for offset in range(INTERNAL_PORT_OFFSET + len(settings.ALL_CONTEXTS))):
            return first


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def test_a_process_that_ends_is_started_again_and_the_others_serve_meanwhile(tmp_path):
    with closing(SplitLauncher(tmp_path)) as launcher:
        shopper = launcher.await_ready()
        sku = find_available_sku(shopper)
        killed = launcher.find_host("payments")
        os.kill(killed, signal.SIGKILL)
        assert shopper.order(sku, email="during@example.com").status in (201, 202)
        eventually(lambda: launcher.find_host("payments") not in (0, killed))
        eventually(lambda: shopper.get("/ready").body.get("elsewhere", {}).get("payments") == "ok")
        assert shopper.get("/ready").status == 200
        assert launcher.process.poll() is None
        assert "payments exited" in launcher.log.read_text()
    assert launcher.process.returncode == 0, launcher.log.read_text()


def test_a_process_gets_the_public_key_instead_of_the_private_one(tmp_path):
    signing_key = keys.generate_signing_key()
    (tmp_path / "key").write_text(signing_key)
    for given in (
        {"JWT_SIGNING_KEY": signing_key},
        {"JWT_SIGNING_KEY": signing_key.replace("\n", "\\n")},
        {"JWT_SIGNING_KEY_FILE": str(tmp_path / "key")},
    ):
        environment = split.select_secrets({"PORT": "8000", **given}, "orders")
        assert environment == {"PORT": "8000", "JWT_PUBLIC_KEYS": public_pem(signing_key).strip()}
