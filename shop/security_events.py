"""The vocabulary of the security log: names, levels and meanings of its events. docs/security-log.md has it as a table.

The names are those of the OWASP logging vocabulary where it has one. An event never changes its name or its level.
"""

from typing import Literal, NamedTuple

Level = Literal["info", "warning", "critical"]

EXPIRED = "expired"  # reason of a refused access token that was valid before

_by_name: dict[str, "SecurityEvent"] = {}


class SecurityEvent(NamedTuple):
    """A kind of event. `when`: what has happened, for the operator."""

    name: str
    level: Level
    when: str


def _declare(name: str, level: Level, when: str) -> SecurityEvent:
    event = _by_name[name] = SecurityEvent(name, level, when)
    return event


def list_security_events() -> list[SecurityEvent]:
    """Return all kinds of events, in the order of the documentation."""
    return list(_by_name.values())


LOGIN_SUCCESS = _declare("authn_login_success", "info", "A password was correct, and a session has begun.")
LOGIN_FAIL = _declare("authn_login_fail", "warning", "A sign-in, or the current password for a new one, was refused.")
LOGIN_FAIL_MAX = _declare(
    "authn_login_fail_max",
    "warning",
    "A sign-in was refused unchecked: too many attempts for the account or the address.",
)
PASSWORD_CHANGE = _declare("authn_password_change", "info", "An account has a new password; its sessions have ended.")
PASSWORD_CHANGE_FAIL = _declare("authn_password_change_fail", "warning", "A new password was refused.")
TOKEN_REUSE = _declare(
    "authn_token_reuse",
    "critical",
    "A refresh token was used again: two clients have it. The session is revoked.",
)
REFRESH_FAIL = _declare(
    "authn_refresh_fail", "warning", "A refresh token was unknown or expired, or its session or account had ended."
)
TOKEN_REVOKED = _declare("authn_token_revoked", "info", "A session has ended by sign-out.")
TOKEN_FAIL = _declare("authn_token_fail", "warning", "A request (401) had an access token that is not valid.")
TOKEN_EXPIRED = _declare("authn_token_expired", "info", "A request (401) had an access token that was valid before.")
TOKEN_MISSING = _declare("authn_token_missing", "info", "A request (401) needs an access token, and had none.")
CALL_FAIL = _declare(
    "authn_call_fail", "critical", "A call or message between processes had a wrong signature, or was received before."
)
SESSION_USE_AFTER_END = _declare(
    "session_use_after_expire",
    "warning",
    "A cookie of the admin names a session that has ended, or none of the shop's.",
)
AUTHZ_FAIL = _declare("authz_fail", "warning", "A caller has no permission for what was requested (403).")
DIRECT_REFERENCE = _declare(
    "malicious_direct_reference", "warning", "A caller named an object of another owner. The response was 404."
)
AUTHZ_ADMIN = _declare("authz_admin", "info", "Staff or a command changed something. The audit trail has the values.")
PERMISSIONS_CHANGED = _declare(
    "privilege_permissions_changed", "warning", "The permissions of an account were changed."
)
USER_CREATED = _declare("user_created", "info", "A customer has registered.")
RATE_LIMIT_EXCEEDED = _declare("excess_rate_limit_exceeded", "warning", "A rate limit refused a request (429).")
UPLOAD_REFUSED = _declare("upload_validation", "warning", "A file was sent to a page that accepts none, or too many.")
BODY_REFUSED = _declare(
    "input_validation_fail", "warning", "A body was refused unread: too large, too slow, or without its length."
)
