"""Generate the secrets of an installation, each once and at random.

`python -m ops.launch.keys <folder>` writes one file for each missing secret in `keys/`, for a process that hosts all contexts,
and in `database/`, the superuser's password. What follows from them is written anew each time: `shared/` is for every process
of a shop in several (SECRET_KEY, and the public half of JWT_SIGNING_KEY), `contexts/<name>/` for the host of one context
alone, and `contexts/secrets.env` has the secrets of all contexts for an orchestrator that gives each host its own. The file
CREDENTIAL_KEY_FALLBACKS in `keys/` has the next CREDENTIAL_KEY, or the former one, while it is changed.

Settings read a value from a file when the variable <NAME>_FILE contains its path (SECRET_KEY_FILE), which is how Docker and
Kubernetes pass secrets.
"""

import argparse
import json
import re
import secrets
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

from config.contexts import ALL_CONTEXTS
from shop.credentials import select_credentials

SIGNING_CONTEXT = "users"


def generate_secret_key() -> str:
    """Generate SECRET_KEY, which signs sessions and hashes, or CREDENTIAL_KEY, from which passwords are derived."""
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
    own, shared, contexts, superuser = (folder / name for name in ("keys", "shared", "contexts", "database"))
    for private_folder in (folder, own, shared, contexts, superuser):
        private_folder.mkdir(mode=0o700, exist_ok=True)
    write_private_file(shared / "SECRET_KEY", _read_or_create(own / "SECRET_KEY", generate_secret_key))
    signing_key = _read_or_create(own / "JWT_SIGNING_KEY", generate_signing_key)
    write_private_file(shared / "JWT_PUBLIC_KEYS", derive_public_key(signing_key))
    former = own / "CREDENTIAL_KEY_FALLBACKS"
    credential_keys = [
        _read_or_create(own / "CREDENTIAL_KEY", generate_secret_key),
        *(split_keys(former.read_text()) if former.exists() else ()),
    ]
    _write_context_secrets(contexts, credential_keys, signing_key)
    password = _read_or_create(superuser / "POSTGRES_PASSWORD", lambda: secrets.token_urlsafe(24))
    _read_or_create(superuser / "DATABASE_URL", lambda: f"postgres://postgres:{password}@{database}/postgres")


def _write_context_secrets(folder: Path, credential_keys: list[str], signing_key: str) -> None:
    secrets_of = {context: format_context_secrets(credential_keys, context) for context in ALL_CONTEXTS}
    for context, text in secrets_of.items():
        (folder / context).mkdir(mode=0o700, exist_ok=True)
        write_private_file(folder / context / "SECRETS", text)
    write_private_file(folder / SIGNING_CONTEXT / "JWT_SIGNING_KEY", signing_key)
    lines = [f"{context.upper()}_SECRETS={text}\n" for context, text in secrets_of.items()]
    write_private_file(folder / "secrets.env", "".join(lines))


def format_context_secrets(credential_keys: list[str], context: str) -> str:
    """Return the value of `<CONTEXT>_SECRETS` of a context."""
    return json.dumps(select_credentials(credential_keys, context, ALL_CONTEXTS), separators=(",", ":"))


def split_keys(text: str) -> list[str]:
    """Return the keys of a setting that has several: separated by commas or line breaks, or a JSON array."""
    text = text.strip()
    return list(json.loads(text)) if text.startswith("[") else [key for key in re.split(r"[,\s]+", text) if key]


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
