"""Service interface of users for other contexts."""

from typing import Protocol
from uuid import UUID

from shop.calls.services import DTO, idempotent, once, read, service
from shop.errors import Invalid, Unauthenticated

MAX_PASSWORD_LENGTH = 256  # characters; longer ones are refused before they are hashed


class Profile(DTO):
    """The profile of a user."""

    id: UUID
    email: str
    full_name: str


class StaffSession(DTO):
    """A short-lived staff token that names the session, its lifetime in seconds, and what its owner may do now."""

    token: str
    lasts_seconds: int
    email: str = ""
    permissions: tuple[str, ...] = ()


class SignInFailed(Unauthenticated):
    """E-mail address or password is incorrect, or the account cannot sign in."""

    security_event = None  # logged where the reason is known, also if no response is 401


class WeakPassword(Invalid):
    """{why}

    The password is too short, too long, easy to guess, or too similar to the account or the shop's name.
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
    def renew_staff(self, *, user_id: UUID, session_id: UUID | None = None) -> StaffSession:
        """Return the session with its owner's present permissions, and record that it is in use.

        Raises SignInFailed if the session has ended: by sign-out, a new password, a disabled account, other permissions,
        or because it was not used for long or began too long ago. A process of an older release names no session.
        """

    @idempotent
    def end_staff_session(self, *, user_id: UUID, session_id: UUID) -> None:
        """End a session of staff. An unknown session or one that has ended changes nothing."""

    @read
    def present_permissions(self, *, user_id: UUID, session_id: UUID | None = None) -> tuple[str, ...]:
        """Return the permissions that a user has now: none if the account is disabled or the session has ended.

        session_id: of the access token. A token of an older release names no session.
        """

    @once
    def change_staff_password(
        self, *, user_id: UUID, current_password: str, new_password: str, address: str = ""
    ) -> None:
        """Change the password of a staff member, and end all of their sessions.

        address: the client's IP address; a wrong current password delays its sign-in.
        Raises SignInFailed if the current password is incorrect, WeakPassword, TooManyRequests.
        """


users: Users = service("users", Users)
