"""What other contexts may ask of users."""

from typing import Protocol
from uuid import UUID

from shop.errors import Unauthenticated
from shop.services import DTO, once, read, service


class Profile(DTO):
    """Who somebody is, as far as others need it."""

    id: UUID
    email: str
    full_name: str


class StaffSession(DTO):
    """A short-lived staff token and how long it lasts."""

    token: str
    lasts_seconds: int


class SignInFailed(Unauthenticated):
    """E-mail address and password do not match an account that may sign in."""


class Users(Protocol):
    """Accounts and sign-in."""

    @read
    def profiles(self, *, user_ids: tuple[UUID, ...]) -> tuple[Profile, ...]:
        """The profiles of these users; who does not exist is not among them."""

    @once
    def sign_in_staff(self, *, email: str, password: str) -> StaffSession:
        """A staff token for somebody with permissions. Raises SignInFailed, TooManyRequests."""

    @read
    def renew_staff(self, *, user_id: UUID) -> StaffSession:
        """A fresh staff token, with the permissions as they are now. Raises SignInFailed once they are gone."""


users: Users = service("users", Users)
