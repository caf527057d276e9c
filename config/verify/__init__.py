"""Whether the shop's books are right: a reader of the five databases that shares no code with what wrote them.

    check(at_rest=True) == []     nothing is lost, doubled or left half-done, as far as the databases can tell

Every invariant is one entry with a number, a name, a sentence and its SQL: see `invariants.py`, and docs/invariants.md.
"""

from config.verify.checker import GRACE, Outage, Report, check, verify
from config.verify.invariant import ALL, Invariant, Violation
from config.verify.invariants import INVARIANTS

__all__ = ["ALL", "GRACE", "INVARIANTS", "Invariant", "Outage", "Report", "Violation", "check", "verify"]
