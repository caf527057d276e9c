"""Service interface of users for other contexts."""

from typing import Protocol
from uuid import UUID

from shop.calls.services import DTO, once, read, service
from shop.errors import Unauthenticated


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


users: Users = service("users", Users)
