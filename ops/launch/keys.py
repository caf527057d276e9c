"""Generate the secrets of an installation, each once and at random.

`python -m ops.launch.keys <folder>` writes one file for each missing secret: `keys/` has what a process that hosts users
needs, `shared/` what every other process needs (the same SECRET_KEY, and the public half of JWT_SIGNING_KEY; written anew
each time), and `database/` the superuser's password. Settings read a value from a file when the variable <NAME>_FILE
contains its path (SECRET_KEY_FILE), which is how Docker and Kubernetes pass secrets.
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


def derive_public_key(signing_key: str) -> str:
    """Return the public half of a private key, both in PEM."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

    public = load_pem_private_key(signing_key.encode(), None).public_key()
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


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
    own, shared, superuser = folder / "keys", folder / "shared", folder / "database"
    for private_folder in (folder, own, shared, superuser):
        private_folder.mkdir(mode=0o700, exist_ok=True)
    write_private_file(shared / "SECRET_KEY", _read_or_create(own / "SECRET_KEY", generate_secret_key))
    signing_key = _read_or_create(own / "JWT_SIGNING_KEY", generate_signing_key)
    write_private_file(shared / "JWT_PUBLIC_KEYS", derive_public_key(signing_key))
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
