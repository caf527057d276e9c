"""Invariants of messages to customers, see shop/invariants.py."""

from shop.invariants import ContextInvariants, EventCounter, Extract, Invariant

_STATE_SQL = """
SELECT concat(subject_id, ' ', template, ' by ', channel) AS subject,
       CASE WHEN status = 'waiting' AND due_at IS NULL THEN 'waiting, but no timer is set'
            WHEN status = 'waiting' AND channel <> 'email' THEN concat('waiting in channel ', channel)
            WHEN (status = 'sent') <> (sent_at IS NOT NULL) THEN
                concat(status, CASE WHEN sent_at IS NULL THEN ' without' ELSE ' with' END, ' a time')
            WHEN status = 'failed' AND (reason = '' OR sequence < 1) THEN 'failed without a reason'
            WHEN status = 'parked' AND (reason = '' OR unknown_outcomes < 1) THEN 'parked without a reason'
            WHEN status = 'discarded' AND reason = '' THEN 'discarded without a reason'
            WHEN status NOT IN ('waiting', 'sent') AND due_at IS NOT NULL THEN concat(status, ' with a timer')
            WHEN channel = 'email' AND message_id = '' THEN 'an e-mail without a Message-ID'
            WHEN channel = 'in_app' AND text = '' THEN 'no text'
            WHEN status NOT IN ('waiting', 'sent', 'failed', 'parked', 'discarded') THEN status
       END AS problem
FROM notifications_message"""

_DUPLICATES_SQL = """
SELECT concat(subject_id, ' ', template, ' by ', channel) AS subject,
       CASE WHEN count(*) > 1 THEN concat(count(*), ' messages') END AS problem
FROM notifications_message GROUP BY subject_id, template, channel, occurrence
UNION ALL
SELECT message_id, CASE WHEN count(*) > 1 THEN concat(count(*), ' e-mails with this Message-ID') END
FROM notifications_message WHERE message_id <> '' GROUP BY message_id"""

_OVERDUE_SQL = """
SELECT concat(subject_id, ' ', template, ' by ', channel) AS subject,
       CASE WHEN status = 'parked' THEN concat('parked. ', reason)
            WHEN due_at < now() - %(late)s AND (lease_until BETWEEN now() AND now() + %(late)s) IS NOT TRUE THEN
                concat('overdue since ', due_at, '. ', reason) END AS problem
FROM notifications_message WHERE status IN ('waiting', 'parked')"""

# A guest may ask for the link to an order at any time, so that its e-mail is not compared with what happened to the order.
# It may outlive an order that was refused.
_MESSAGES_EXTRACT_SQL = """
SELECT subject_id::text, min(order_id::text) FILTER (WHERE template <> 'order_link'), min(user_id::text),
       count(DISTINCT user_id),
       string_agg(template::text, ' ' ORDER BY template::text)
           FILTER (WHERE channel = 'email' AND is_first AND template <> 'order_link'),
       string_agg(template::text, ' ' ORDER BY template::text) FILTER (WHERE channel = 'in_app' AND is_first),
       min(created_at) < now() - %(grace)s
FROM (SELECT *, row_number() OVER (PARTITION BY subject_id, template, channel, occurrence ORDER BY id) = 1 AS is_first
      FROM notifications_message) message
GROUP BY subject_id"""

DECLARATION = ContextInvariants(
    invariants=(
        Invariant(
            number=35,
            name="message_state",
            description="A message is waiting with a timer, was sent at a recorded time, or failed, was parked or discarded "
            "for a reason; an e-mail has a Message-ID.",
            sql=_STATE_SQL,
        ),
        Invariant(
            number=36,
            name="told_once",
            description="There is one message per subject, template, channel and occurrence, and one e-mail per Message-ID.",
            sql=_DUPLICATES_SQL,
        ),
        Invariant(
            number=37,
            name="message_goes_out",
            description="Every waiting message is sent or retried when it is due, and none is parked for staff to decide.",
            sql=_OVERDUE_SQL,
            holds_always=False,
        ),
    ),
    required_constraints=("one_message_per_occurrence", "message_fits_channel"),
    event_counters=(EventCounter(stream="notifications.message", table="notifications_message"),),
    extracts=(
        Extract(
            table="messages",
            columns="subject, order_id, user_id, recipients, emails, in_app, past_grace_period",
            key="subject",
            sql=_MESSAGES_EXTRACT_SQL,
        ),
    ),
    read_order=-1,  # first, so that the cause of every message is found in the databases that are read later
)
