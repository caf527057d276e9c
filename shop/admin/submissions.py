"""Submissions of a form: each form has a one-time token, so that a double click or a resent page has one effect."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

from shop.db.database import joinable_transaction
from shop.errors import Conflict
from shop.http import idempotency

TOKEN_FIELD, VERSION_FIELD = "form_token", "form_version"
_TOKEN = re.compile(r"[A-Za-z0-9-]{1,64}")


class AlreadySaved(Conflict):
    """This form was already saved. Nothing was saved a second time; the page shows the current values."""


def create_token() -> str:
    """Return the token of a new form."""
    return str(uuid4())


def assert_not_saved(alias: str, scope: str, token: str) -> None:
    """Raise AlreadySaved if a form with this token was saved: its values need not be valid a second time."""
    if _TOKEN.fullmatch(token) and idempotency.find(alias, _build_key(scope, token)):
        raise AlreadySaved


def _build_key(scope: str, token: str) -> idempotency.Key:
    return idempotency.Key(scope=scope, key=token, fingerprint="")


@contextmanager
def save_once(alias: str, scope: str, token: str) -> Iterator[None]:
    """Run the block in one transaction with the token of its form. Services of the context join the transaction.

    scope: the kind of form. Raises AlreadySaved if a form with this token was saved. A second submission waits for one
    that is being saved. Without a valid token, as from a form of an earlier release, the block always runs.
    """
    with joinable_transaction(alias):
        if _TOKEN.fullmatch(token):
            try:
                idempotency.record(alias, _build_key(scope, token))
            except idempotency.IdempotencyKeyInFlight:
                raise AlreadySaved from None
        yield
