"""Verify that the contexts' databases are consistent, in themselves and with each other.

    check(is_idle=True) == []     nothing is lost, duplicated or unfinished, as far as the databases can show

The invariants are declared in `contexts/<name>/invariants.py`, here for the kernel's tables (`events.py`) and for what
spans contexts (`cross_context.py`). docs/invariants.md lists them. Their SQL shares no code with what writes the tables.
"""

from ops.verify.checker import (
    ALL_CONTEXTS,
    GRACE_SECONDS,
    INVARIANTS,
    DatabaseUnreadable,
    Report,
    Violation,
    check,
    verify,
)
from shop.invariants import Invariant

__all__ = [
    "ALL_CONTEXTS",
    "GRACE_SECONDS",
    "INVARIANTS",
    "DatabaseUnreadable",
    "Invariant",
    "Report",
    "Violation",
    "check",
    "verify",
]
