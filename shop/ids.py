"""Identifiers: UUIDv7 (RFC 9562) for machines, a short random number for people."""

import os
import secrets
import time
from uuid import UUID

ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"  # without 0, 1, I and O, which are confused when a number is read aloud


def uuid7() -> UUID:
    """Return a new id. Ids sort by time, so that indexes grow at one end; 74 bits are random."""
    milliseconds = time.time_ns() // 1_000_000
    random = int.from_bytes(os.urandom(10), "big")
    value = milliseconds << 80 | 0x7 << 76 | (random >> 68 & 0xFFF) << 64 | 0b10 << 62 | random & (1 << 62) - 1
    return UUID(int=value)


def readable_number(length: int = 10) -> str:
    """Return a random number for people to read. It may be taken: the unique constraint of its column decides."""
    return "".join(secrets.choice(ALPHABET) for _ in range(length))
