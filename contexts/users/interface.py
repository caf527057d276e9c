"""Service interface of users for other contexts."""

from typing import Protocol
from uuid import UUID

from shop.calls.services import DTO, once, read, service
from shop.errors import Invalid, Unauthenticated


class Profile(DTO):
    """The profile of a user."""

    id: UUID
    email: str
    full_name: str


class StaffSession(DTO):
    """A short-lived staff token and its lifetime in seconds."""

    token: str
    lasts_seconds: int


class SignInFailed(Unauthenticated):
    """E-mail address or password is incorrect, or the account cannot sign in."""


class WeakPassword(Invalid):
    """{why}

    The password is too short, too common, or too similar to the account.
    """

    remedy = "Let the customer choose another password."
    why: str


class Users(Protocol):
    """Accounts and sign-in."""

    @read
    def profiles(self, *, user_ids: tuple[UUID, ...]) -> tuple[Profile, ...]:
        """Return the profiles of these users. Unknown ids are omitted."""

    @once
    def sign_in_staff(self, *, email: str, password: str, address: str = "") -> StaffSession:
        """Sign in a staff member and return a staff token. Raises SignInFailed, TooManyRequests.

        address: the client's IP address, so that wrong passwords delay this client only.
        """

    @read
    def renew_staff(self, *, user_id: UUID) -> StaffSession:
        """Return a new staff token with the current permissions. Raises SignInFailed if the user has none."""

    @once
    def change_staff_password(
        self, *, user_id: UUID, current_password: str, new_password: str, address: str = ""
    ) -> None:
        """Change the password of a staff member, and revoke their refresh tokens.

        address: the client's IP address; a wrong current password delays its sign-in.
        Raises SignInFailed if the current password is incorrect, WeakPassword, TooManyRequests.
        """


users: Users = service("users", Users)
