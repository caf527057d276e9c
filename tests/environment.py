"""Start a PostgreSQL for the test run and set its environment, before the settings are loaded (`-p tests.environment`)."""

import atexit
import os
import shutil
import signal
import tempfile
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from ops.launch.postgres import PostgresServer

TOPOLOGY = os.environ.get("TRANSPORT", "local")  # or loopback; or remote: see tests/topologies
FOLDER = Path(tempfile.mkdtemp(prefix="satsuma-tests-"))


def signing_key() -> str:
    """Generate an EC P-256 private key in PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def _start() -> None:
    if "DATABASE_URL" not in os.environ:
        server = PostgresServer(FOLDER, durable=False)
        server.start()
        atexit.register(shutil.rmtree, FOLDER, ignore_errors=True)
        atexit.register(server.stop)
        os.environ["DATABASE_URL"] = server.url
    os.environ["DATABASE_PREFIX"] = f"test_satsuma_{TOPOLOGY}"  # two test runs may share a server
    os.environ["TRANSPORT"] = "local" if TOPOLOGY == "remote" else TOPOLOGY  # each of the five calls itself locally
    os.environ["SECRET_KEY"] = "only-for-tests-" + "x" * 40
    os.environ["JWT_SIGNING_KEY"] = signing_key()
    os.environ["PASSWORD_HASHERS"] = "django.contrib.auth.hashers.MD5PasswordHasher"
    os.environ["DATABASE_POOL_SIZE"] = "60"  # races with 50 buyers, each with a thread
    os.environ["DATABASE_CONNECTIONS"] = "80"
    os.environ["LOG_FORMAT"] = "json"
    os.environ["LOG_LEVEL"] = "ERROR"
    os.environ["ENGINE"] = "none"  # tests run the engine step by step
    os.environ["RECONCILE_SECONDS"] = "0.05"
    os.environ["RATE_LIMITS"] = "false"  # all clients of a test run have one address; tests of limits switch them on


_start()
# The shell of `make test` starts pytest in the background, without SIGINT, and all that the tests start would inherit this.
signal.signal(signal.SIGINT, signal.default_int_handler)
