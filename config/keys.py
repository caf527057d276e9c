"""The secrets of a shop, each made once and different in every installation: nobody has to invent one.

`python -m config.keys <folder>` writes a file for each that is missing there: in `keys` what every process needs, in
`database` what makes a superuser. The settings read a value from a file where its name with _FILE behind it says which
(SECRET_KEY_FILE), as Docker and Kubernetes hand over secrets.
"""

import argparse
import secrets
import shlex
import sys
from collections.abc import Callable
from pathlib import Path


def secret_key() -> str:
    """Signs sessions and hashes; what role passwords follow from."""
    return secrets.token_urlsafe(48)


def signing_key() -> str:
    """A fresh EC P-256 private key in PEM."""
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def main() -> int:
    reader = argparse.ArgumentParser(prog="python -m config.keys", description="Write the secrets that are missing.")
    reader.add_argument("folder", type=Path)
    reader.add_argument("--database", default="database:5432", help="host and port of the PostgreSQL that gets a password")
    given = reader.parse_args()
    try:
        keep(given.folder, given.database)
    except OSError as error:
        print(f"The secrets cannot be kept: {error}", file=sys.stderr)
        return 1
    return 0


def keep(folder: Path, database: str) -> None:
    """Write what is missing; what is there stays."""
    shared, superuser = folder / "keys", folder / "database"
    for kept in (folder, shared, superuser):
        kept.mkdir(mode=0o700, exist_ok=True)
    _keep(shared / "SECRET_KEY", secret_key)
    _keep(shared / "JWT_SIGNING_KEY", signing_key)
    password = _keep(superuser / "POSTGRES_PASSWORD", lambda: secrets.token_urlsafe(24))
    _keep(superuser / "DATABASE_URL", lambda: f"postgres://postgres:{password}@{database}/postgres")


def _keep(file: Path, make: Callable[[], str]) -> str:
    if not file.exists():
        write(file, make())
    return file.read_text()


def write(file: Path, text: str) -> None:
    """Whole or not at all, also when it is cut off while it writes; for its owner's eyes only."""
    draft = file.with_name(f"{file.name}.new")
    draft.touch(mode=0o600)
    draft.chmod(0o600)  # one that was left behind
    draft.write_text(text)
    draft.replace(file)


def settings(values: dict[str, str]) -> str:
    """Settings as a shell reads them: `set -a; . file`."""
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items())


if __name__ == "__main__":
    sys.exit(main())
