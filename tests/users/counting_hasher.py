"""A password hasher that counts, which the processes of every topology can load."""

from pathlib import Path

from django.conf import settings
from django.contrib.auth.hashers import MD5PasswordHasher


class CountingHasher(MD5PasswordHasher):
    """Logs each computed hash to a file, so that hashes of all processes are counted."""

    algorithm = "counting"

    def encode(self, password: str, salt: str) -> str:
        with Path(settings.COMPUTED_HASHES).open("a") as file:
            file.write(f"{salt}\n")
        return super().encode(password, salt)
