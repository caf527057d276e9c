"""Accounts: registration, profile, canonical e-mail addresses."""

from uuid import UUID

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError

from contexts.users.events import UserRegistered
from contexts.users.interface import Profile, WeakPassword
from contexts.users.models import User
from contexts.users.service.hashing import hash_password
from shop.addresses.email import InvalidAddress, clean_customer_address, fold_address, normalize_address
from shop.db.database import execute, transaction
from shop.errors import Conflict, Invalid, Unauthenticated
from shop.messaging.outbox import Revision, publish
from shop.security_events import USER_CREATED
from shop.security_log import log_after_commit

_INSERT_ACCOUNT_SQL = """
INSERT INTO users_user (id, email, full_name, password, permissions, is_active, sequence)
VALUES (%(id)s, %(email)s, %(full_name)s, %(password)s, %(permissions)s, true, 1)
ON CONFLICT (email) DO NOTHING"""


class EmailInvalid(Invalid):
    """This is not a valid e-mail address."""

    remedy = "Let the customer correct the address."


class EmailTaken(Conflict):
    """An account with this e-mail address already exists."""


def normalize_email(email: str) -> str:
    """Return the canonical spelling of an e-mail address."""
    return normalize_address(email)


def find_user(email: str) -> User | None:
    """Return the account with this e-mail address, in any spelling.

    The spelling that was entered comes first: two accounts may share an address since before spellings were compared.
    """
    entered = fold_address(email)
    found = User.objects.filter(email__in={entered, normalize_email(email)})
    return max(found, key=lambda user: user.email == entered, default=None)


def clean_email(email: str) -> str:
    """Return the canonical address. Raises EmailInvalid if mail cannot be sent to it.

    Quoted local parts are valid (RFC 5321) but not in use, and they can smuggle separators into mail headers. Invisible
    characters (zero width, writing direction) would make a second account look like the first.
    """
    try:
        return clean_customer_address(email)
    except InvalidAddress:
        raise EmailInvalid().at("/email") from None


def register(*, email: str, password: str, full_name: str) -> Profile:
    """Create an account. Raises EmailInvalid, WeakPassword, EmailTaken, Overloaded.

    The password is hashed before the lookup, so that the response time does not reveal whether the address is taken.
    """
    user = User(email=clean_email(email), full_name=_collapse_whitespace(full_name))
    validate_password_strength(password, user)
    user.password = hash_password(password)
    with transaction("users"):
        if not insert_account(user):
            raise EmailTaken().at("/email")
    log_after_commit("users", USER_CREATED, reason="registration", account=user.id)
    return _to_profile(user)


def validate_password_strength(password: str, user: User) -> None:
    """Check a password against the rules. Raises WeakPassword with the message of each broken rule."""
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise WeakPassword(why=" ".join(error.messages)).at("/password") from None


def insert_account(user: User) -> bool:
    """Insert the account and publish UserRegistered, inside a transaction. Returns False if the address is taken.

    The unique index decides between concurrent calls.
    """
    values = {
        "id": user.id,
        "email": user.email,
        "full_name": user.full_name,
        "password": user.password,
        "permissions": user.permissions,
    }
    inserted = execute("users", _INSERT_ACCOUNT_SQL, values)
    if inserted:
        publish(UserRegistered(user_id=user.id), row=Revision())
    return bool(inserted)


def get_profile(user_id: UUID) -> Profile:
    """Return the profile of the caller. Raises Unauthenticated if the account is disabled but its token has not expired."""
    user = User.objects.filter(id=user_id, is_active=True).first()
    if user is None:
        raise Unauthenticated().because("account_disabled")
    return _to_profile(user)


def rename(user_id: UUID, *, full_name: str) -> Profile:
    """Change the name. Raises Unauthenticated if the account is disabled."""
    with transaction("users"):
        User.objects.filter(id=user_id, is_active=True).update(full_name=_collapse_whitespace(full_name))
        return get_profile(user_id)


def get_profiles(user_ids: tuple[UUID, ...]) -> tuple[Profile, ...]:
    """Implement `Users.profiles`."""
    return tuple(_to_profile(user) for user in User.objects.filter(id__in=user_ids))


def _collapse_whitespace(name: str) -> str:
    return " ".join(name.split())


def _to_profile(user: User) -> Profile:
    return Profile(id=user.id, email=user.email, full_name=user.full_name)
