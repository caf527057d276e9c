"""Planted bugs that the tests of this folder catch. `make mutants` runs them."""

from tests.mutants.planted import Mutant

MUTANTS = (
    Mutant(
        name="order_link_sent_once",
        what="a guest who asks for the link a second time gets no e-mail",
        rule="API: orders/lookup mails a fresh link",
        module="contexts.notifications.service.messages",
        replace="if not execute(ALIAS, _SEND_AGAIN_SQL, [message.message_id, order_id]):",
        by="if order_id:",
        caught_by="tests/orders/test_lookup.py::test_each_lookup_sends_a_fresh_mail",
    ),
    Mutant(
        name="message_marked_sent_without_lease",
        what="a sender that lost its lease marks the message of its successor as sent",
        rule="protocol 2.9: each local write is conditional on the attempt",
        module="contexts.notifications.service.sending",
        replace="_IF_HELD_SQL = \"WHERE id = %s AND attempt = %s AND status = 'waiting'\"",
        by="_IF_HELD_SQL = \"WHERE id = %s AND attempt >= %s AND status = 'waiting'\"",
        caught_by="tests/notifications/test_fencing.py::test_a_sender_that_lost_its_lease_during_the_mail_does_not_mark",
    ),
    Mutant(
        name="message_postponed_without_lease",
        what="a sender that lost its lease postpones the message of its successor",
        rule="protocol 2.9: each local write is conditional on the attempt",
        module="contexts.notifications.service.sending",
        replace='WHERE message.id = held.id AND message.attempt = held.attempt AND status = \'waiting\'""",',
        by='WHERE message.id = held.id AND status = \'waiting\'""",',
        caught_by="tests/notifications/test_fencing.py::test_a_sender_that_lost_its_lease_does_not_postpone",
    ),
    Mutant(
        name="message_sent_without_lease",
        what="a sender that lost its lease sends a mail that its successor sends too",
        rule="protocol 2.9: each step holds lease and attempt",
        module="contexts.notifications.service.sending",
        replace="""\
        _extend_lease(message)
""",
        by="",
        caught_by="tests/notifications/test_fencing.py::test_a_sender_that_lost_its_lease_before_the_mail_does_not_send",
    ),
    Mutant(
        name="message_written_twice",
        what="an event that is handled twice writes two e-mails",
        rule="protocol 1.1: a write has a business key, enforced by a unique constraint; a repeat changes nothing",
        module="contexts.notifications.migrations.0001_initial",
        replace="'constraints': [models.UniqueConstraint(fields=('subject_id', 'template', 'channel'), name='one_message_per_subject'), models.CheckConstraint(condition=models.Q(models.Q(('channel', 'in_app'), ('user_id__isnull', False)), models.Q(('channel', 'email'), ('order_id__isnull', False), ('text', '')), _connector='OR'), name='message_fits_channel')],",
        by="'constraints': [models.UniqueConstraint(fields=('id', 'subject_id'), name='one_message_per_subject'), models.CheckConstraint(condition=models.Q(models.Q(('channel', 'in_app'), ('user_id__isnull', False)), models.Q(('channel', 'email'), ('order_id__isnull', False), ('text', '')), _connector='OR'), name='message_fits_channel')],",
        caught_by="tests/notifications/test_message_creation.py::test_concurrent_handlers_write_one_receipt",
    ),
)
