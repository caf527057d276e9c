"""The public halves of signing keys."""

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key


def public_pem(private_pem: str) -> str:
    """Return the public key of a private key, both in PEM, as `openssl ec -pubout` does."""
    public = load_pem_private_key(private_pem.encode(), None).public_key()
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
