"""Planted bugs that the tests of this folder catch. `make mutants` runs them."""

from tests.mutants.planted import Change, Mutant

MUTANTS = (
    Mutant(
        name="attempt_counted_by_relaxed_commit",
        what="a mail is sent more often than the limit allows, because the server has lost the count in a crash",
        rule="protocol 9.4: an attempt to send is counted by a commit that has waited",
        module="contexts.notifications.service.sending",
        replace="unknown_outcomes = unknown_outcomes + 1 {_IF_HELD_SQL}",
        by="unknown_outcomes = unknown_outcomes + 1 {_IF_HELD_SQL} AND set_config('synchronous_commit', 'off', true) = 'off'",
        caught_by="tests/notifications/test_sending.py::test_an_attempt_is_counted_on_the_disk_before_the_mail_is_sent",
    ),
    Mutant(
        name="any_mail_server_is_trusted",
        what="mails and the password go to a mail server with any certificate",
        rule="ASVS V12.3.2: certificates are checked",
        module="contexts.notifications.channels.smtp",
        replace="    connection: SmtpClient | None\n",
        by='    connection: SmtpClient | None\n    ssl_context = __import__("ssl")._create_unverified_context()\n',
        caught_by="tests/notifications/test_mail_tls.py::test_a_mail_server_with_a_certificate_that_is_not_trusted_gets_nothing",
    ),
    Mutant(
        name="connections_held_while_mail_is_sent",
        what="the threads that send mail hold the database connections that requests wait for",
        rule="settings: EMAIL_CONNECTIONS does not take connections to the databases",
        module="contexts.notifications.service.sending",
        replace="        _begin_attempt(message)\n        close_all_connections()\n",
        by="        _begin_attempt(message)\n",
        caught_by="tests/notifications/test_sending.py::test_no_database_connection_is_held_while_the_mail_server_works",
    ),
    Mutant(
        name="mail_over_one_connection",
        what="a process sends one mail at a time, so that they queue while many orders are placed",
        rule="settings: EMAIL_CONNECTIONS connections are used while many e-mails are due",
        module="contexts.notifications.service.sending",
        replace="number = math.ceil(len(messages) / MESSAGES_PER_CONNECTION)",
        by="number = 1",
        caught_by="tests/notifications/test_sending.py::test_a_process_sends_over_as_many_connections_as_the_setting_allows",
    ),
    Mutant(
        name="mail_server_that_hangs_at_quit_holds_the_sender",
        what="QUIT has the time limit of other commands, a minute, although all messages are sent",
        rule="a message is sent once its content is accepted; QUIT has a short time limit of its own",
        module="contexts.notifications.channels.smtp",
        replace="self.phase = Phase.QUIT",
        by="self.phase = Phase.COMMAND",
        caught_by="tests/notifications/test_slow_mail_server.py"
        "::test_a_message_is_sent_once_its_content_is_accepted_whatever_becomes_of_quit",
    ),
    Mutant(
        name="mail_server_that_drips_holds_the_sender",
        what="the time limit of a phase starts again with each line of the reply",
        rule="the timeout of a phase is for its whole reply",
        module="contexts.notifications.channels.smtp",
        replace="if (remaining := self.deadline - time.monotonic()) <= 0:",
        by="if (remaining := 10.0) <= 0:",
        caught_by="tests/notifications/test_slow_mail_server.py"
        "::test_a_server_that_sends_its_reply_line_by_line_holds_no_worker",
    ),
    Mutant(
        name="unexpected_reply_to_the_content_is_a_refusal",
        what="a message is sent again without limit if the reply to its content is neither positive nor negative",
        rule="a bounded number of unknown outcomes",
        module="contexts.notifications.channels.smtp",
        replace="self.may_have_accepted = code not in _NEGATIVE",
        by="self.may_have_accepted = code == _ACCEPTED",
        caught_by="tests/notifications/test_slow_mail_server.py::test_an_unexpected_reply_to_the_content_is_no_refusal",
    ),
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
        _begin_attempt(message)
""",
        by="",
        caught_by="tests/notifications/test_fencing.py::test_a_sender_that_lost_its_lease_before_the_mail_does_not_send",
    ),
    Mutant(
        name="message_written_twice",
        what="an event that is handled twice writes two e-mails",
        rule="protocol 1.1: a write has a business key, enforced by a unique constraint; a repeat changes nothing",
        module="contexts.notifications.migrations.0006_one_message_per_occurrence",
        replace="ON notifications_message (subject_id, template, channel, occurrence)",
        by="ON notifications_message (id, subject_id)",
        caught_by="tests/notifications/test_message_creation.py::test_concurrent_handlers_write_one_receipt",
    ),
    Mutant(
        name="set_of_receipts_forgets_a_customer",
        what="of several confirmed orders one has no receipt",
        rule="protocol 2.11: a set version has the effect that the handler has for each event",
        module="contexts.notifications.handlers",
        replace="for event, _ in received for",
        by="for event, _ in (received[1:] or received) for",
        caught_by="tests/orders/test_set_handlers.py::test_any_split_into_sets_and_single_events_writes_the_same_rows",
    ),
    Mutant(
        name="mail_reply_without_patience",
        what="a mail server that checks a message for longer than a command takes gets it again and again",
        rule="RFC 5321, 4.5.3.2: minutes for the reply to the content",
        module="contexts.notifications.channels.smtp",
        replace='Phase.CONTENT: "EMAIL_DATA_TIMEOUT"',
        by='Phase.CONTENT: "EMAIL_COMMAND_TIMEOUT"',
        caught_by="tests/notifications/test_slow_mail_server.py"
        "::test_a_mail_server_that_replies_after_the_other_timeouts_gets_one_copy",
    ),
    Mutant(
        name="message_without_reply_sent_without_limit",
        what="a mail server that never replies gets the same message without limit",
        rule="ADR 10: after EMAIL_MAX_UNKNOWN_OUTCOMES attempts without a reply staff decide",
        module="contexts.notifications.service.sending",
        replace="EMAIL_MAX_UNKNOWN_OUTCOMES:\n            _park(message, str(outage))",
        by="EMAIL_MAX_UNKNOWN_OUTCOMES * 99:\n            _park(message, str(outage))",
        caught_by="tests/notifications/test_slow_mail_server.py"
        "::test_a_message_without_a_reply_is_sent_a_limited_number_of_times",
        also=(
            Change(
                "contexts.notifications.service.sending",
                "if message.unknown_outcomes >= settings.EMAIL_MAX_UNKNOWN_OUTCOMES:\n            return _park(message, message.reason)",
                "if False:\n            return None",
            ),
        ),
    ),
    Mutant(
        name="message_attempt_not_counted_before",
        what="an attempt during which the worker dies does not count, so such attempts have no limit",
        rule="ADR 10: an attempt is counted before it begins",
        module="contexts.notifications.service.sending",
        replace="due_at = now() + %s, unknown_outcomes = unknown_outcomes + 1",
        by="due_at = now() + %s",
        caught_by="tests/notifications/test_slow_mail_server.py"
        "::test_a_message_is_counted_while_it_is_sent_so_that_the_death_of_a_worker_counts",
    ),
    Mutant(
        name="message_without_reply_repeated_at_once",
        what="a mail server that drops connections for a few seconds parks every message",
        rule="RFC 5321, 4.5.4.1: the sender delays the retry of a destination after an attempt has failed",
        module="contexts.notifications.service.sending",
        replace=", delay=_pause_after_unknown_outcome(message.unknown_outcomes))",
        by=")",
        caught_by="tests/notifications/test_slow_mail_server.py::test_attempts_without_a_reply_are_minutes_apart",
    ),
    Mutant(
        name="message_of_dead_worker_repeated_at_once",
        what="a message whose sender dies is sent again as soon as its lease expires",
        rule="ADR 10: attempts with an unknown outcome are minutes apart",
        module="contexts.notifications.service.sending",
        replace="[leases.LEASE_DURATION, pause, message.id",
        by="[leases.LEASE_DURATION, leases.LEASE_DURATION, message.id",
        caught_by="tests/notifications/test_slow_mail_server.py"
        "::test_the_attempt_after_the_death_of_a_worker_waits_as_long",
    ),
    Mutant(
        name="batch_waits_for_one_message",
        what="while a mail server takes minutes for one message, no worker sends the others of its batch",
        rule="ADR 10: only the lease of the message that is being sent is renewed",
        module="contexts.notifications.service.sending",
        replace="                _send_one(smtp, remaining.popleft(), orders_by_id)",
        by="""\
                held = [leases.keep_lease_alive(message, ALIAS) for message in remaining]
                for lease in held:
                    lease.__enter__()
                _send_one(smtp, remaining.popleft(), orders_by_id)
                for lease in held:
                    lease.__exit__(None, None, None)""",
        caught_by="tests/notifications/test_slow_mail_server.py"
        "::test_other_workers_send_the_rest_of_a_batch_while_a_server_takes_long_for_one_mail",
    ),
    Mutant(
        name="mail_lost_before_content_counts_as_unknown",
        what="a message that was certainly not transferred is parked, as if it might have arrived",
        rule="RFC 5321, 4.2.5: a server accepts a message after its content only",
        module="contexts.notifications.channels.email",
        replace="return not isinstance(smtp, SmtpBackend) or smtp.may_have_accepted",
        by="return True",
        caught_by="tests/notifications/test_slow_mail_server.py"
        "::test_each_phase_has_its_timeout_and_only_the_last_leaves_the_outcome_open",
    ),
    Mutant(
        name="international_address_without_smtputf8",
        what="a message to an international address is sent without SMTPUTF8",
        rule="RFC 6531: an international address needs SMTPUTF8",
        module="contexts.notifications.channels.smtp",
        replace='options = ["SMTPUTF8", "BODY=8BITMIME"] if message.is_utf8 else []',
        by="options: list[str] = []",
        caught_by="tests/notifications/test_international_mail.py::test_an_international_address_is_sent_to_as_it_is",
    ),
    Mutant(
        name="domain_encoded_by_idna_2003",
        what="a message to straße.example is sent to strasse.example, which has another owner",
        rule="RFC 5891: IDNA 2008",
        module="shop.addresses.email",
        replace="encoded = idna.encode(domain, uts46=True, std3_rules=True).decode()",
        by='encoded = domain.encode("idna").decode()',
        caught_by="tests/notifications/test_international_mail.py::test_an_international_domain_needs_no_special_mail_server",
    ),
)
