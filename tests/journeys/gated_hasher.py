"""A password hasher for a shop under test: it waits as long as a file exists."""

import os
import time
from pathlib import Path

from django.contrib.auth.hashers import MD5PasswordHasher

GATE = "TESTS_HASHING_GATE"  # the environment variable that names the file


class GatedHasher(MD5PasswordHasher):
    """Hash a password once the gate is open."""

    algorithm = "gated"

    def encode(self, password: str, salt: str) -> str:
        gate = Path(os.environ[GATE])
        while gate.exists():
            time.sleep(0.01)
        return super().encode(password, salt)
