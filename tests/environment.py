"""Loaded before the settings (`-p tests.environment`): a PostgreSQL of the suite's own, and the values of a test run."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from config.embedded import Server

TOPOLOGY = os.environ.get("TRANSPORT", "local")  # or loopback; or remote: see tests/topologies
FOLDER = Path(tempfile.mkdtemp(prefix="satsuma-tests-"))


def signing_key() -> str:
    """A fresh EC P-256 private key in PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def _start() -> None:
    if "DATABASE_URL" not in os.environ:
        server = Server(FOLDER, durable=False)
        server.start()
        atexit.register(shutil.rmtree, FOLDER, ignore_errors=True)
        atexit.register(server.stop)
        os.environ["DATABASE_URL"] = server.url
    os.environ["DATABASE_PREFIX"] = f"test_satsuma_{TOPOLOGY}"  # two runs may share a server
    os.environ["TRANSPORT"] = {"remote": "local"}.get(TOPOLOGY, TOPOLOGY)  # each of five processes is local to itself
    os.environ["SECRET_KEY"] = "only-for-tests-" + "x" * 40
    os.environ["JWT_SIGNING_KEY"] = signing_key()
    os.environ["PASSWORD_HASHERS"] = "django.contrib.auth.hashers.MD5PasswordHasher"
    os.environ["DATABASE_POOL_SIZE"] = "60"  # races with 50 buyers, each a thread
    os.environ["LOG_FORMAT"] = "json"
    os.environ["LOG_LEVEL"] = "ERROR"
    os.environ["ENGINE"] = "none"  # tests run the engine by hand, or start one
    os.environ["RECONCILE_SECONDS"] = "0.05"


_start()
