"""Invariants of accounts, sessions and staff permissions, see shop/invariants.py."""

from shop.invariants import ContextInvariants, EventCounter, Extract, Invariant

_REFRESH_TOKENS_SQL = """
SELECT family_id AS subject, CASE WHEN count(*) > 1 THEN concat(count(*), ' usable refresh tokens') END AS problem
FROM users_refreshtoken WHERE used_at IS NULL GROUP BY family_id"""

_DISABLED_SQL = """
SELECT account.id AS subject,
       CASE WHEN EXISTS (SELECT FROM users_tokenfamily WHERE user_id = account.id AND NOT revoked)
              OR EXISTS (SELECT FROM users_staffsession WHERE user_id = account.id AND NOT revoked) THEN
           'disabled, but a session is not revoked' END AS problem
FROM users_user account WHERE NOT is_active"""

_PASSWORDS_SQL = """
SELECT session.id AS subject,
       CASE WHEN began_at < (SELECT max(at) FROM shop_auditentry WHERE object_type = 'user'
                             AND object_id = session.user_id::text AND action IN ('set password', 'change password')) THEN
           'not revoked, but older than the password of its account' END AS problem
FROM (SELECT id, user_id, began_at FROM users_tokenfamily WHERE NOT revoked
      UNION ALL SELECT id, user_id, began_at FROM users_staffsession WHERE NOT revoked) AS session"""

_RIGHTS_SQL = """
SELECT session.id AS subject,
       CASE WHEN owner.permissions = '{}' THEN 'not revoked, but its owner is not staff'
            WHEN began_at < (SELECT max(at) FROM shop_auditentry WHERE object_type = 'user'
                             AND object_id = owner.id::text AND action = 'set permissions') THEN
           'not revoked, but older than the permissions of its owner' END AS problem
FROM users_staffsession AS session JOIN users_user AS owner ON owner.id = session.user_id WHERE NOT revoked"""

_STAFF_AUDIT_SQL = """
SELECT id AS subject,
       CASE WHEN NOT EXISTS (SELECT FROM shop_auditentry WHERE object_type = 'user' AND object_id = account.id::text
                             AND action IN ('appoint', 'set permissions') AND actor <> '') THEN
           concat('has ', array_to_string(permissions, ', '), ', but no audit entry') END AS problem
FROM users_user account WHERE permissions <> '{}'"""

_USERS_EXTRACT_SQL = "SELECT id::text, created_at < now() - %(grace)s FROM users_user WHERE sequence > 0"

DECLARATION = ContextInvariants(
    invariants=(
        Invariant(
            number=38,
            name="one_refresh_token",
            description="A session has at most one usable refresh token.",
            sql=_REFRESH_TOKENS_SQL,
        ),
        Invariant(
            number=39,
            name="disabled_signed_out",
            description="A disabled user has no active session.",
            sql=_DISABLED_SQL,
        ),
        Invariant(
            number=40,
            name="staff_audited",
            description="For every user with permissions the audit trail has an entry that names who granted them.",
            sql=_STAFF_AUDIT_SQL,
        ),
        Invariant(
            number=60,
            name="password_ends_sessions",
            description="No active session is older than a new password of its account.",
            sql=_PASSWORDS_SQL,
        ),
        Invariant(
            number=61,
            name="rights_end_sessions",
            description="No active session in the admin is older than the permissions of its owner, who is staff.",
            sql=_RIGHTS_SQL,
        ),
    ),
    required_constraints=("users_user_email_key", "email_is_lower_case"),
    event_counters=(EventCounter(stream="users.user", table="users_user"),),
    extracts=(Extract(table="users", columns="id, past_grace_period", key="id", sql=_USERS_EXTRACT_SQL),),
)
