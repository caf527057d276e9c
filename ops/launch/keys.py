"""Generate the secrets of an installation, each once and at random.

`python -m ops.launch.keys <folder>` writes one file for each missing secret: `keys/` has what every process needs,
`database/` has the superuser's password. Settings read a value from a file when the variable <NAME>_FILE contains its path
(SECRET_KEY_FILE), which is how Docker and Kubernetes pass secrets.
"""

import argparse
import secrets
import shlex
import sys
from collections.abc import Callable
from pathlib import Path


def generate_secret_key() -> str:
    """Generate the key that signs sessions and hashes, and from which the role passwords are derived."""
    return secrets.token_urlsafe(48)


def generate_signing_key() -> str:
    """Generate an EC P-256 private key in PEM."""
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m ops.launch.keys", description="Write the secrets that are missing; existing ones are kept."
    )
    parser.add_argument("folder", type=Path, help="folder to write the secrets to")
    parser.add_argument(
        "--database", default="database:5432", help="host:port of the PostgreSQL server (default: %(default)s)"
    )
    arguments = parser.parse_args()
    try:
        write_missing_secrets(arguments.folder, arguments.database)
    except OSError as error:
        print(f"Cannot write the secrets: {error}", file=sys.stderr)
        return 1
    return 0


def write_missing_secrets(folder: Path, database: str) -> None:
    """Write the secrets that are missing; existing files are kept. `database` is host:port."""
    shared, superuser = folder / "keys", folder / "database"
    for private_folder in (folder, shared, superuser):
        private_folder.mkdir(mode=0o700, exist_ok=True)
    _read_or_create(shared / "SECRET_KEY", generate_secret_key)
    _read_or_create(shared / "JWT_SIGNING_KEY", generate_signing_key)
    password = _read_or_create(superuser / "POSTGRES_PASSWORD", lambda: secrets.token_urlsafe(24))
    _read_or_create(superuser / "DATABASE_URL", lambda: f"postgres://postgres:{password}@{database}/postgres")


def _read_or_create(file: Path, generate: Callable[[], str]) -> str:
    if not file.exists():
        write_private_file(file, generate())
    return file.read_text()


def write_private_file(file: Path, text: str) -> None:
    """Write a file that only its owner can read. The write is atomic: a crash leaves the old file or the new one."""
    draft = file.with_name(f"{file.name}.new")
    draft.touch(mode=0o600)
    draft.chmod(0o600)  # touch does not change the mode of a draft that a crash left behind
    draft.write_text(text)
    draft.replace(file)


def format_settings(values: dict[str, str]) -> str:
    """Format settings for a shell: `set -a; . file`."""
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items())


if __name__ == "__main__":
    sys.exit(main())
