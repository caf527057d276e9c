"""What an invariant is, and what breaks one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

ALL = ("notifications", "users", "inventory", "payments", "orders")  # in the order in which they are read, see checker.py


class Violation(NamedTuple):
    """Something that is not as it has to be."""

    invariant: str  # its name
    subject: str  # the order's id, the SKU, the stream …
    detail: str


@dataclass(frozen=True, kw_only=True)
class Invariant:
    """What has to hold, and the SQL that looks.

    The SQL has one row for each subject that it looks at: `subject`, and `problem`, which is NULL where all is well. It
    may use %(grace)s, how long something may take; %(late)s, how long a timer may; and %(at_rest)s.
    """

    number: int
    name: str
    says: str
    sql: str | Mapping[str, str]  # the same in each context, or one for each
    contexts: tuple[str, ...]
    at_every_instant: bool = True  # or only in the end: once the grace period is over, or the shop is at rest
    meet: bool = False  # the SQL runs where the facts of these contexts meet (facts.py), not in their databases

    def sql_in(self, context: str) -> str:
        """The SQL that runs in the database of one context."""
        return self.sql if isinstance(self.sql, str) else self.sql[context]
