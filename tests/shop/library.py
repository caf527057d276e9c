"""An interface of the tests' own, with its implementation and one that is not finished."""

from datetime import timedelta
from typing import Protocol
from uuid import UUID

from shop.errors import Closed, Conflict, NotFound
from shop.money import Money
from shop.services import DTO, idempotent, once, read

calls: list[str] = []


class Book(DTO):
    """A book and who has it."""

    isbn: str
    price: Money
    tags: tuple[str, ...]
    lent_for: timedelta | None = None
    borrower: UUID | None = None


class NotOnShelf(Conflict):
    """{isbn} is lent for {lent_for} more."""

    isbn: str
    borrower: UUID
    lent_for: timedelta
    price: Money


class UnknownBook(NotFound):
    """There is no book {isbn}."""

    isbn: str


class Library(Protocol):
    """Books."""

    @read
    def books(self, *, isbns: tuple[str, ...]) -> tuple[Book, ...]:
        """These books. Raises UnknownBook."""

    @idempotent
    def lend(self, *, loan_id: UUID, isbn: str, lent_for: timedelta) -> Book:
        """Lend a book. Raises NotOnShelf, Closed."""

    @once
    def shout(self, *, word: str) -> None:
        """Disturb the readers."""


def book(isbn: str) -> Book:
    return Book(isbn=isbn, price=Money(1999, "EUR"), tags=("new", "blue"))


class LocalLibrary(Library):
    """Everything of the interface."""

    def books(self, *, isbns):
        calls.append("books")
        if "missing" in isbns:
            raise UnknownBook(isbn="missing")
        return tuple(book(isbn) for isbn in isbns)

    def lend(self, *, loan_id, isbn, lent_for):
        calls.append("lend")
        if isbn == "closed":
            raise Closed(key=str(loan_id))
        if isbn == "lent":
            raise NotOnShelf(isbn=isbn, borrower=loan_id, lent_for=lent_for, price=Money(5, "EUR"))
        return Book(isbn=isbn, price=Money(1, "EUR"), tags=(), lent_for=lent_for, borrower=loan_id)

    def shout(self, *, word):
        calls.append(word)


class UnfinishedLibrary(Library):
    """Inherits what it does not define: the Protocol's empty methods."""

    def books(self, *, isbns):
        return ()
