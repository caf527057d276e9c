"""Use cases of users: accounts, sessions and their tokens, staff."""

from uuid import UUID

from contexts.users.interface import Profile, StaffSession, Users
from contexts.users.service import accounts, passwords, sessions, staff_sessions


class LocalUsers(Users):
    """Implementation of the interface in the process that hosts users."""

    def profiles(self, *, user_ids: tuple[UUID, ...]) -> tuple[Profile, ...]:
        return accounts.get_profiles(user_ids)

    def sign_in_staff(self, *, email: str, password: str, address: str = "") -> StaffSession:
        return sessions.sign_in_staff(email=email, password=password, address=address)

    def renew_staff(self, *, user_id: UUID, session_id: UUID | None = None) -> StaffSession:
        return staff_sessions.renew(user_id, session_id)

    def end_staff_session(self, *, user_id: UUID, session_id: UUID) -> None:
        staff_sessions.end(user_id, session_id)

    def present_permissions(self, *, user_id: UUID, session_id: UUID | None = None) -> tuple[str, ...]:
        return sessions.get_present_permissions(user_id, session_id)

    def change_staff_password(
        self, *, user_id: UUID, current_password: str, new_password: str, address: str = ""
    ) -> None:
        passwords.change_password(
            user_id, current_password=current_password, new_password=new_password, address=address
        )
