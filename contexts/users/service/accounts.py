"""Accounts: opened by registering, known by a canonical e-mail address."""

from unicodedata import normalize
from uuid import UUID

from django.contrib.auth.hashers import make_password
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.validators import EmailValidator

from contexts.users.events import UserRegistered
from contexts.users.interface import Profile
from contexts.users.models import User
from shop.database import changed, transaction
from shop.errors import Conflict, Invalid, Unauthenticated
from shop.outbox import publish

EMAIL_LENGTH = 254  # RFC 5321: a path has 256 octets, two of them angle brackets

_validate_email = EmailValidator(allowlist=[])


class EmailInvalid(Invalid):
    """This is not an e-mail address that we can send mail to."""


class EmailTaken(Conflict):
    """There is an account with this e-mail address already."""


class WeakPassword(Invalid):
    """{why}"""

    why: str


def canonical(email: str) -> str:
    """The one spelling of an e-mail address: no space around it, lower case, compatible characters as one (NFKC)."""
    return normalize("NFKC", normalize("NFKC", email).strip().lower())


def deliverable(email: str) -> str:
    """The canonical address. Raises EmailInvalid for what no mail can be sent to.

    Checked after the canonical form is made, for that may bring in an @, a space or many more characters. Quoted local
    parts are valid (RFC 5321), but nobody has one, and they are a way to smuggle separators into mail headers. What cannot
    be seen (zero width, writing direction) would make a second account look like the first.
    """
    email = canonical(email)
    try:
        _validate_email(email)
    except ValidationError:
        raise EmailInvalid from None
    if len(email) > EMAIL_LENGTH or '"' in email or not email.isprintable():
        raise EmailInvalid
    return email


def register(*, email: str, password: str, full_name: str) -> Profile:
    """Open an account. Raises EmailInvalid, WeakPassword, EmailTaken.

    A taken address takes as long as a free one: the password is hashed before the table is asked.
    """
    user = User(email=deliverable(email), full_name=_tidy(full_name))
    check_strength(password, user)
    user.password = make_password(password)
    with transaction("users"):
        if not insert(user):
            raise EmailTaken
    return _to_profile(user)


def check_strength(password: str, user: User) -> None:
    """Raises WeakPassword, naming each rule that the password breaks."""
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise WeakPassword(why=" ".join(error.messages)) from None


def insert(user: User) -> bool:
    """Open the account, inside a transaction, and announce it; False if its address is taken. The unique index decides."""
    inserted = changed(
        "users",
        """INSERT INTO users_user (id, email, full_name, password, permissions, is_active, sequence)
           VALUES (%s, %s, %s, %s, %s, true, 1) ON CONFLICT (email) DO NOTHING""",
        [user.id, user.email, user.full_name, user.password, user.permissions],
    )
    if inserted:
        publish(UserRegistered(user_id=user.id), sequence=1)
    return bool(inserted)


def exists(email: str) -> bool:
    """Whether there is an account with this address."""
    return User.objects.filter(email=canonical(email)).exists()


def profile(user_id: UUID) -> Profile:
    """Who the caller is. Raises Unauthenticated once the account is closed, though its token may live on a little."""
    user = User.objects.filter(id=user_id, is_active=True).first()
    if user is None:
        raise Unauthenticated
    return _to_profile(user)


def rename(user_id: UUID, *, full_name: str) -> Profile:
    """Change the name. Raises Unauthenticated once the account is closed."""
    with transaction("users"):
        User.objects.filter(id=user_id, is_active=True).update(full_name=_tidy(full_name))
        return profile(user_id)


def profiles(user_ids: tuple[UUID, ...]) -> tuple[Profile, ...]:
    """The profiles of these users; who does not exist is not among them."""
    return tuple(_to_profile(user) for user in User.objects.filter(id__in=user_ids))


def _tidy(name: str) -> str:
    return " ".join(name.split())


def _to_profile(user: User) -> Profile:
    return Profile(id=user.id, email=user.email, full_name=user.full_name)
