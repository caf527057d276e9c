"""An interface for tests, with a complete and an incomplete implementation."""

from datetime import timedelta
from typing import Protocol
from uuid import UUID

from shop.calls.services import DTO, idempotent, once, read
from shop.errors import Closed, Conflict, NotFound
from shop.money import Money

calls: list[str] = []


class Book(DTO):
    """A book, and its borrower if it is lent."""

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
    """A library, with one method for each repeat policy."""

    @read
    def books(self, *, isbns: tuple[str, ...]) -> tuple[Book, ...]:
        """Return these books. Raises UnknownBook."""

    @idempotent
    def lend(self, *, loan_id: UUID, isbn: str, lent_for: timedelta) -> Book:
        """Lend a book. Raises NotOnShelf, Closed."""

    @once
    def shout(self, *, word: str) -> None:
        """Shout a word; its repetition would be another shout."""


def book(isbn: str) -> Book:
    return Book(isbn=isbn, price=Money(1999, "EUR"), tags=("new", "blue"))


class LocalLibrary(Library):
    """Implement the whole interface and record the calls."""

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
    """Implement one method; the others are the Protocol's empty ones."""

    def books(self, *, isbns):
        return ()
