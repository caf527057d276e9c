"""One transaction at a time: a thread that holds one on any alias can neither begin nor read on another.

A test's own transaction (django.test.TestCase) does not count.
"""

from typing import Any

from django.db.backends.postgresql import base

from shop.transactions import held, refuse_beside


class _Blocks(list):
    """The atomic blocks of a connection; one that is not a test's own marks its alias as held."""

    def __init__(self, alias: str) -> None:
        super().__init__()
        self.alias = alias

    def append(self, block: Any) -> None:
        super().append(block)
        if not block._from_testcase and self.alias not in held.aliases:
            held.aliases.append(self.alias)

    def pop(self, *index: int) -> Any:
        block = super().pop(*index)
        if all(outer._from_testcase for outer in self):
            self.forget()
        return block

    def forget(self) -> None:
        if self.alias in held.aliases:
            held.aliases.remove(self.alias)


class DatabaseWrapper(base.DatabaseWrapper):
    """django.db.backends.postgresql, with the one-transaction rule."""

    @property
    def atomic_blocks(self) -> _Blocks:
        return self._blocks

    @atomic_blocks.setter
    def atomic_blocks(self, blocks: list) -> None:  # Django sets [] at start and at each reconnection
        if hasattr(self, "_blocks"):
            self._blocks.forget()
        self._blocks = _Blocks(self.alias)

    def _set_autocommit(self, autocommit: bool) -> None:
        if not autocommit:
            refuse_beside(self.alias)
        super()._set_autocommit(autocommit)

    def _cursor(self, name: str | None = None) -> Any:
        refuse_beside(self.alias)
        return super()._cursor(name)
