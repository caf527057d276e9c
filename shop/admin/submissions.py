"""Submissions of a form: each form has a one-time token, so that a double click or a resent page has one effect."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

from django.http import HttpRequest

from shop.db.database import joinable_transaction
from shop.errors import Conflict, Invalid
from shop.http import idempotency

TOKEN_FIELD, VERSION_FIELD = "form_token", "form_version"
_TOKEN = re.compile(r"[A-Za-z0-9-]{1,64}")


class AlreadySaved(Conflict):
    """This form was already saved. Nothing was saved a second time; the page shows the current values."""


class IncompleteForm(Invalid):
    """This form has no valid version. Nothing was saved. The page shows the current values: enter your changes again."""


def create_token() -> str:
    """Return the token of a new form."""
    return str(uuid4())


def read_token(request: HttpRequest) -> str:
    """Return the token of a submitted form, or an empty text without one. Raises IncompleteForm if it is malformed."""
    token = request.POST.get(TOKEN_FIELD, "").strip()
    if token and not _TOKEN.fullmatch(token):
        raise IncompleteForm
    return token


def read_version(request: HttpRequest) -> str:
    """Return the version that the object had when the submitted form was opened. Raises IncompleteForm if it has none."""
    version = request.POST.get(VERSION_FIELD, "").strip()
    if not version:
        raise IncompleteForm
    return version


def assert_not_saved(alias: str, scope: str, token: str) -> None:
    """Raise AlreadySaved if a form with this token was saved: its values need not be valid a second time."""
    if token and idempotency.find(alias, _build_key(scope, token)):
        raise AlreadySaved


def _build_key(scope: str, token: str) -> idempotency.Key:
    return idempotency.Key(scope=scope, key=token, fingerprint="")


@contextmanager
def save_once(alias: str, scope: str, token: str) -> Iterator[None]:
    """Run the block in one transaction with the token of its form. Services of the context join the transaction.

    scope: the kind of form. Raises AlreadySaved if a form with this token was saved. A second submission waits for one
    that is being saved. Without a token the version of the object decides, or the unique key of a new one.
    """
    with joinable_transaction(alias):
        if token:
            try:
                idempotency.record(alias, _build_key(scope, token))
            except idempotency.IdempotencyKeyInFlight:
                raise AlreadySaved from None
        yield
