"""Bugs that the tests of this folder catch: `make mutants`."""

from tests.mutants.planted import Mutant

MUTANTS = (
    Mutant(
        name="former_password_not_tried",
        what="after a change of SECRET_KEY no process can connect until all roles have their new passwords",
        rule="docs/deploy.md: SECRET_KEY is changed while the shop sells",
        module="shop.db.postgres.locations",
        replace="            for password in former_passwords:",
        by="            for password in former_passwords[:0]:",
        caught_by="tests/shop/db/test_locations.py::test_a_former_password_is_tried_until_the_role_has_the_new_one",
        fails_with="psycopg.OperationalError",
    ),
    Mutant(
        name="pooler_in_transaction_mode_is_used",
        what="a pooler that gives a server session to other clients after each transaction is accepted",
        rule="each connection has a session of its own",
        module="shop.db.postgres.sessions",
        replace="if _share_sessions(connection, other):",
        by="if _share_sessions(connection, other) is None:",
        caught_by="tests/shop/db/test_poolers.py::test_a_pooler_in_transaction_mode_is_refused",
    ),
    Mutant(
        name="session_settings_are_not_verified",
        what="a session whose time limits do not hold is used",
        rule="each connection has its time limits",
        module="shop.db.postgres.sessions",
        replace="if found != list(session.values()):",
        by="if not found:",
        caught_by="tests/shop/db/test_poolers.py::test_a_session_that_does_not_keep_its_settings_is_refused",
    ),
    Mutant(
        name="migration_leaves_sessions_without_limits",
        what="after a migration the session returns to the statement_timeout of the server, which is none",
        rule="each connection has its time limits",
        module="ops.management.commands.migrate",
        replace='_restore(cursor, "statement_timeout", "idle_in_transaction_session_timeout")',
        by='cursor.execute("RESET statement_timeout")',
        caught_by="tests/shop/db/test_poolers.py::test_a_migration_ends_with_the_limits_of_the_settings",
    ),
    Mutant(
        name="commit_drops_deferred_statements",
        what="statements that were deferred until COMMIT are not sent",
        rule="a transaction happens as a whole or not at all",
        module="shop.db.postgres.base",
        replace='self.connection.execute(b";".join([*unsent, b"COMMIT"]))',
        by='self.connection.execute(b"COMMIT")',
        caught_by="tests/shop/db/test_postgres.py::test_deferred_statements_are_committed_in_their_order",
    ),
    Mutant(
        name="transaction_ignores_failed_condition",
        what="a statement that has to change a row and changes none does not abort its transaction",
        rule="protocol 3.1: row count 0 = stop",
        module="shop.db.database",
        replace='condition = "SELECT CASE WHEN count(*) = 0 THEN shop_nothing_changed(%s) END FROM changed"',
        by='condition = "SELECT CASE WHEN count(*) < 0 THEN shop_nothing_changed(%s) END FROM changed"',
        caught_by="tests/shop/db/test_postgres.py::test_execute_or_abort_rolls_back_when_no_row_changes",
    ),
    Mutant(
        name="transaction_begins_after_first_executemany",
        what="rows that executemany writes first in a transaction are committed before it begins",
        rule="a transaction happens as a whole or not at all",
        module="shop.db.postgres.cursor",
        replace="""\
        self.send_pending_statements()
        super().executemany(""",
        by="        super().executemany(",
        caught_by="tests/shop/db/test_postgres.py::test_the_first_statement_is_part_of_the_transaction",
    ),
    Mutant(
        name="rollback_keeps_deferred_statements",
        what="deferred statements of a failed transaction are sent with the next one",
        rule="a transaction happens as a whole or not at all",
        module="shop.db.postgres.base",
        replace="""\
    def _rollback(self) -> None:
        self.pending_statements.clear()""",
        by="    def _rollback(self) -> None:",
        caught_by="tests/shop/db/test_postgres.py::test_deferred_statements_are_discarded_when_the_transaction_fails",
    ),
    Mutant(
        name="transaction_allows_second_database",
        what="a thread that holds a transaction on one database uses another database",
        rule="protocol 1.3: no transaction on a second alias while one is open; durable=True alone sees its own only",
        module="shop.db.transactions",
        replace="    if transaction_state.open_aliases and transaction_state.open_aliases[0] != alias:",
        by="""\
    if (
        transaction_state.open_aliases
        and transaction_state.open_aliases[0] == transaction_state.joinable_alias != alias
    ):""",
        caught_by="tests/shop/db/test_postgres.py::test_a_second_alias_is_refused_while_a_transaction_is_open",
    ),
    Mutant(
        name="lease_renewed_after_loss",
        what="a worker that lost its lease renews the lease of its successor",
        rule="protocol 3.1: every write of a holder has WHERE attempt = mine",
        module="shop.db.leases",
        replace="ON {name}.{key} = mine.key AND {name}.attempt = mine.attempt",
        by="ON {name}.{key} = mine.key AND {name}.attempt >= mine.attempt",
        caught_by="tests/shop/db/test_leases.py::test_a_fenced_holder_renews_nothing",
    ),
    Mutant(
        name="lease_taken_from_holder",
        what="a lease that another worker holds can be acquired",
        rule="protocol 3.1: a lease is acquired by one conditional UPDATE",
        module="shop.db.leases",
        replace="""\
                woken = coalesce(lease_until > now(), false),
                attempt = attempt + (lease_until IS NULL OR lease_until <= now())::int,""",
        by="""\
                woken = false,
                attempt = attempt + 1,""",
        caught_by="tests/shop/db/test_leases.py::test_one_of_many_takes_a_row",
    ),
    Mutant(
        name="lease_contender_does_not_wake_holder",
        what="a worker that cannot acquire a lease does not wake its holder",
        rule="protocol 3.2: a worker that cannot acquire a lease sets woken",
        module="shop.db.leases",
        replace="    [row] = found",
        by="""\
    [row] = found
    if row.woken:
        execute(alias, f"UPDATE {model._meta.db_table} SET woken = false WHERE {model._meta.pk.column} = %s", [pk])""",
        caught_by="tests/shop/db/test_leases.py::test_a_leased_row_is_not_taken_and_is_flagged_as_woken",
    ),
    Mutant(
        name="lease_is_due_while_renewed",
        what="a row is due although its holder renews the lease",
        rule="protocol 3.1: a lease lasts as long as it is renewed",
        module="shop.db.leases",
        replace="WHERE due_at <= now() AND (lease_until IS NULL OR lease_until <= now())",
        by="WHERE due_at <= now()",
        caught_by="tests/shop/db/test_leases.py::test_a_leased_row_is_not_due_although_its_time_has_passed",
    ),
    Mutant(
        name="lease_without_new_attempt",
        what="a worker that takes over a lease has the attempt of the previous holder, so that fencing fails",
        rule="protocol 3.1: acquiring the lease increments attempt",
        module="shop.db.leases",
        replace="attempt = attempt + (lease_until IS NULL OR lease_until <= now())::int,",
        by="attempt = attempt + (lease_until IS NULL)::int,",
        caught_by="tests/shop/db/test_leases.py::test_a_lease_that_ran_out_is_taken_over_with_a_higher_attempt",
    ),
    Mutant(
        name="moved_database_location_not_read",
        what="a refused connection does not look up the current location of the database",
        rule="protocol 6: the process re-reads the binding",
        module="shop.db.postgres.locations",
        replace="recorded = find_location(context)",
        by="recorded = None",
        caught_by="tests/shop/db/test_locations.py::test_a_refused_connection_follows_the_directory_and_caches_it",
        fails_with="psycopg.OperationalError",
    ),
    Mutant(
        name="open_circuit_refuses_nothing",
        what="each request to a database that hangs holds a thread until it has found out itself",
        rule="a database that hangs does not hold the threads of the rest",
        module="shop.db.postgres.circuits",
        replace="if self.is_open and not (self._try_start_probe() and self.is_answering(self.address)):",
        by="if self.is_open and self.opened_at > time.monotonic():",
        caught_by="tests/shop/db/test_circuits.py::test_a_statement_on_a_database_that_hangs_is_abandoned_and_opens_the_circuit",
    ),
    Mutant(
        name="stopped_session_is_waited_for",
        what="a session whose process is stopped holds a thread although the server works",
        rule="a statement waits no longer than the server works on it",
        module="shop.db.postgres.circuits",
        replace='return row is None or row[0] in (None, "active", "fastpath function call")',
        by="return True",
        caught_by="tests/shop/db/test_circuits.py::test_a_session_whose_process_is_stopped_is_abandoned",
    ),
    Mutant(
        name="answers_have_no_time_limit",
        what="a statement whose process hangs in the middle of it holds a thread for ever",
        rule="an answer of a database has a time limit on the client's side",
        module="shop.db.postgres.circuits",
        replace="if self.answer_timeout is not None and waited >= self.answer_timeout:",
        by="if waited < 0:",
        caught_by="tests/shop/db/test_circuits.py::test_an_answer_may_not_take_longer_than_the_setting",
    ),
)
