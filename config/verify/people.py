"""Users and the messages to them."""

from config.verify.invariant import Invariant

NOTIFICATIONS, USERS = ("notifications",), ("users",)

_STATE = """
SELECT concat(subject_id, ' ', template, ' by ', channel) AS subject,
       CASE WHEN status = 'waiting' AND due_at IS NULL THEN 'waiting, and nobody will send it'
            WHEN status = 'waiting' AND channel <> 'email' THEN concat('waiting by ', channel)
            WHEN (status = 'sent') <> (sent_at IS NOT NULL) THEN
                concat(status, CASE WHEN sent_at IS NULL THEN ' without' ELSE ' with' END, ' a time')
            WHEN status = 'failed' AND (reason = '' OR sequence < 1) THEN 'failed without a word'
            WHEN channel = 'email' AND message_id = '' THEN 'an e-mail without a Message-ID'
            WHEN channel = 'in_app' AND text = '' THEN 'nothing to read'
            WHEN status NOT IN ('waiting', 'sent', 'failed') THEN status
       END AS problem
FROM notifications_message"""

_ONCE = """
SELECT concat(subject_id, ' ', template, ' by ', channel) AS subject,
       CASE WHEN count(*) > 1 THEN concat(count(*), ' messages') END AS problem
FROM notifications_message GROUP BY subject_id, template, channel
UNION ALL
SELECT message_id, CASE WHEN count(*) > 1 THEN concat(count(*), ' e-mails with this Message-ID') END
FROM notifications_message WHERE message_id <> '' GROUP BY message_id"""

_GOES_OUT = """
SELECT concat(subject_id, ' ', template, ' by ', channel) AS subject,
       CASE WHEN due_at < now() - %(late)s AND (lease_until BETWEEN now() AND now() + %(late)s) IS NOT TRUE THEN
           concat('was to be sent ', due_at, '. ', reason) END AS problem
FROM notifications_message WHERE status = 'waiting'"""

_TOKENS = """
SELECT family_id AS subject, CASE WHEN count(*) > 1 THEN concat(count(*), ' tokens can be used') END AS problem
FROM users_refreshtoken WHERE used_at IS NULL GROUP BY family_id"""

_DISABLED = """
SELECT account.id AS subject,
       CASE WHEN EXISTS (SELECT FROM users_tokenfamily WHERE user_id = account.id AND NOT revoked) THEN
           'disabled, with a session that goes on' END AS problem
FROM users_user account WHERE NOT is_active"""

_STAFF = """
SELECT id AS subject,
       CASE WHEN NOT EXISTS (SELECT FROM shop_auditentry WHERE object_type = 'user' AND object_id = account.id::text
                             AND action IN ('appoint', 'set permissions') AND actor <> '') THEN
           concat('may ', array_to_string(permissions, ', '), ', and nobody gave that') END AS problem
FROM users_user account WHERE permissions <> '{}'"""

INVARIANTS = (
    Invariant(
        number=35, name="message_state", contexts=NOTIFICATIONS, sql=_STATE,
        says="A message waits with a timer, was sent at some time, or failed for a reason; an e-mail has its Message-ID.",
    ),
    Invariant(
        number=36, name="told_once", contexts=NOTIFICATIONS, sql=_ONCE,
        says="There is one message about a subject for a template and channel, and one e-mail for a Message-ID.",
    ),
    Invariant(
        number=37, name="message_goes_out", contexts=NOTIFICATIONS, sql=_GOES_OUT, at_every_instant=False,
        says="Every message that waits is tried when it is due.",
    ),
    Invariant(
        number=38, name="one_refresh_token", contexts=USERS, sql=_TOKENS,
        says="Of a session at most one refresh token can still be used.",
    ),
    Invariant(
        number=39, name="disabled_signed_out", contexts=USERS, sql=_DISABLED,
        says="Whoever is disabled has no session.",
    ),
    Invariant(
        number=40, name="staff_audited", contexts=USERS, sql=_STAFF,
        says="Whoever has permissions was given them by somebody, and the audit trail says by whom.",
    ),
)  # fmt: skip
