"""The form in which staff change their own password."""

from typing import Any
from uuid import UUID

from django import forms

from contexts.users.interface import MAX_PASSWORD_LENGTH, SignInFailed, WeakPassword, users
from shop.errors import DomainError


def _build_field(label: str, autocomplete: str) -> forms.CharField:
    widget = forms.PasswordInput(attrs={"autocomplete": autocomplete})
    return forms.CharField(label=label, strip=False, max_length=MAX_PASSWORD_LENGTH, widget=widget)


class PasswordForm(forms.Form):
    """The current password, and the new one twice. The users context checks and changes the password."""

    old_password = _build_field("Current password", "current-password")
    new_password1 = _build_field("New password", "new-password")
    new_password2 = _build_field("New password (again)", "new-password")

    def __init__(self, user_id: UUID, address: str, *, data: Any = None) -> None:
        super().__init__(data)
        self.user_id, self.address = user_id, address

    def clean(self) -> dict[str, Any]:
        entered = self.cleaned_data
        if not self.errors and entered["new_password1"] != entered["new_password2"]:
            self.add_error("new_password2", "The two passwords do not match.")
        if not self.errors:
            self._change_password(entered["old_password"], entered["new_password1"])
        return entered

    def _change_password(self, current: str, new: str) -> None:
        """Change the password. Unavailable is raised: the password may or may not have been changed."""
        try:
            users.change_staff_password(
                user_id=self.user_id, current_password=current, new_password=new, address=self.address
            )
        except SignInFailed:
            self.add_error("old_password", "The current password is incorrect.")
        except WeakPassword as error:
            self.add_error("new_password1", str(error))
        except DomainError as error:
            if error.status >= 500:
                raise
            self.add_error("old_password", str(error))
