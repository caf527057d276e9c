"""Mutants that the tests of this folder must catch (`make mutants`)."""

from tests.mutants.planted import Mutant

MUTANTS = (
    Mutant(
        name="move_takes_passwords_of_the_command_line",
        what="The password of a superuser is in the process list.",
        rule="Secrets are not passed on a command line.",
        module="ops.peel.addresses",
        replace="""    if server["PASSWORD"] or SECRET_OPTIONS & set(server["OPTIONS"]):""",
        by="""    if SECRET_OPTIONS & set(server["OPTIONS"]):""",
        caught_by="tests/ops/peel/test_passwords.py::test_a_password_on_the_command_line_is_refused",
    ),
    Mutant(
        name="replication_has_no_password",
        what="A move with a password file cannot be completed, since the old server has no such file.",
        rule="The password comes from a file, the environment or libpq.",
        module="ops.peel.database",
        replace="""parameters | {"password": self.connection.info.password or None}""",
        by="""parameters""",
        caught_by="tests/ops/peel/test_passwords.py::test_a_move_replicates_with_a_password_that_only_this_machine_has",
    ),
    Mutant(
        name="plan_counts_other_tables",
        what="The plan announces a table that is not moved.",
        rule="peel has one count of tables",
        module="ops.peel.plan",
        replace="""relname = ANY(%s) ORDER BY 3""",
        by="""(relname = ANY(%s) OR relkind = 'r') ORDER BY 3""",
        caught_by="tests/ops/peel/test_passwords.py::test_plan_copy_and_comparison_count_the_same_tables",
    ),
    Mutant(
        name="move_runs_twice_at_once",
        what="Two commands can move a context at the same time.",
        rule="protocol 6: the steps of a cut-over, in order",
        module="ops.peel.move",
        replace="""\
        if not self.directory.try_lock(context):
            raise MoveRefused(f"Another command is moving {context}; wait until it has ended")
""",
        by="",
        caught_by="tests/ops/peel/test_move.py::test_only_one_move_of_a_context_runs_at_a_time",
    ),
    Mutant(
        name="move_compares_different_snapshots",
        what="Rows are compared as they are later, at a different moment on each side.",
        rule="protocol 6: counts and checksums",
        module="ops.peel.comparison",
        replace="""\
    connection.execute("SELECT 1")  # SET alone takes no snapshot
""",
        by="",
        caught_by="tests/ops/peel/test_fence.py::test_rows_are_compared_at_the_snapshot",
    ),
    Mutant(
        name="move_does_not_fence",
        what="Open sessions are terminated, but new ones can connect to the old database.",
        rule="protocol 6: role NOLOGIN on the old database and its sessions terminated",
        module="ops.peel.database",
        replace="""\
        self.execute("ALTER ROLE {role} NOLOGIN", role=self.location.user)
""",
        by="",
        caught_by="tests/ops/peel/test_fence.py::test_a_long_transaction_is_terminated",
    ),
    Mutant(
        name="move_does_not_advance_sequences",
        what="The sequences of the new database produce values that are already used.",
        rule="protocol 6: advance the sequences",
        module="ops.peel.move",
        replace="""\
            new.advance_sequences(old.read_sequences())
""",
        by="",
        caught_by="tests/ops/peel/test_move.py::test_payments_moves_and_returns_while_customers_buy",
    ),
    Mutant(
        name="rollback_is_resumed_forward",
        what="An interrupted rollback is resumed as a forward move, so that both databases accept sessions.",
        rule="protocol 6: rollback is the same procedure backwards",
        module="ops.peel.move",
        replace="""\
        self._record_step(RETURNING)
""",
        by="",
        caught_by="tests/ops/peel/test_interrupted_moves.py::test_a_killed_move_can_be_rolled_back[decide.after]",
    ),
    Mutant(
        name="move_ignores_differences",
        what="The processes stay with a copy that differs.",
        rule="protocol 6: counts and checksums",
        module="ops.peel.move",
        replace="""\
            self.roll_back()
""",
        by="",
        caught_by="tests/ops/peel/test_interrupted_moves.py::test_differing_copies_roll_the_move_back",
    ),
    Mutant(
        name="move_ignores_connecting_sessions",
        what="A session that was connecting when the role was locked can write afterwards.",
        rule="protocol 6: no old process reads or writes",
        module="ops.peel.database",
        replace="started_at, starting = time.monotonic(), self._find_starting_sessions()",
        by="started_at, starting = time.monotonic(), set()",
        caught_by="tests/ops/peel/test_fence.py::test_a_session_that_is_connecting_during_the_fence_cannot_write",
    ),
    Mutant(
        name="databases_command_recreates_moved_database",
        what="The role of a database that the context has left can log in again, to an empty database.",
        rule="protocol 6: no old process reads or writes",
        module="ops.management.commands.databases",
        replace="if location[1:5] != get_configured_location(context)[1:5]:",
        by="if not location:",
        caught_by="tests/ops/peel/test_interrupted_moves.py::test_a_moved_database_is_not_recreated_at_its_old_place",
    ),
    Mutant(
        name="move_opens_new_database_before_cut_over",
        what="A process that is configured for the new database can write to it before the cut-over.",
        rule="protocol 6: the new database opens last",
        module="ops.peel.move",
        replace="""\
        self.new.fence()
""",
        by="",
        caught_by="tests/ops/peel/test_interrupted_moves.py::test_a_move_killed_repeatedly_resumes",
    ),
    Mutant(
        name="interrupted_move_prints_a_traceback",
        what="an operator who presses Ctrl-C reads a traceback instead of how to continue",
        rule="an interrupted move is resumed by the same command",
        module="ops.management.commands.peel",
        replace="except KeyboardInterrupt:",
        by="except NotImplementedError:",
        caught_by="tests/ops/peel/test_move.py::test_an_interrupted_move_reports_how_to_continue",
    ),
    Mutant(
        name="wrong_address_is_found_after_the_move",
        what="the data has moved when the command refuses the address that it was given",
        rule="bad input leaves nothing half-done",
        module="ops.management.commands.peel",
        replace='at=Address.of(at or f"{context}:8000"), shop_at=Address.of(shop_at),',
        by='at=(at or f"{context}:8000"), shop_at=shop_at,',
        caught_by="tests/ops/peel/test_move.py::test_a_wrong_option_is_refused_before_anything_moves[--at]",
    ),
)
