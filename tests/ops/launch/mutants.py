"""Bugs that the tests of this folder and of tests/journeys catch: `make mutants`."""

from tests.mutants.planted import Mutant

MUTANTS = (
    Mutant(
        name="database_server_that_refuses_is_taken_for_running",
        what="a database server that hangs in a stop is kept, and the shop never starts",
        rule="make up recovers from a database server that refuses its clients",
        module="ops.launch.postgres",
        replace="if self._is_hanging():",
        by="if not self.is_running() and self._is_hanging():",
        caught_by="tests/ops/launch/test_postgres.py::test_a_server_that_hangs_while_it_shuts_down_is_replaced",
        fails_with="psycopg.OperationalError",
    ),
    Mutant(
        name="database_server_is_stopped_fast_only",
        what="a fast stop that hangs leaves a database server that refuses its clients",
        rule="a stop of the database server escalates",
        module="ops.launch.postgres",
        replace="file=sys.stderr, flush=True)\n            self._stop_now()\n\n    def kill",
        by="file=sys.stderr, flush=True)\n\n    def kill",
        caught_by="tests/ops/launch/test_postgres.py::test_a_fast_stop_that_hangs_is_followed_by_an_immediate_one",
    ),
    Mutant(
        name="killed_database_server_stays_dead",
        what="the shop waits for ever for a database server that was killed",
        rule="a killed database server is started again",
        module="ops.launch.postgres",
        replace="if self.is_running() or not self.lock.exists():",
        by="if self.lock.exists():",
        caught_by="tests/ops/launch/test_postgres.py::test_a_killed_server_is_started_again_and_a_stopped_one_is_not",
    ),
    Mutant(
        name="killed_server_ends_the_tree",
        what="a container is dark until its orchestrator has started it again",
        rule="a server that is killed is started again",
        module="ops.launch.process_tree",
        replace="max_restarts=MAX_RESTARTS",
        by="max_restarts=0",
        caught_by="tests/journeys/test_serving.py::test_a_killed_worker_is_replaced_and_so_is_a_killed_server",
    ),
    Mutant(
        name="migration_that_gives_up_prints_a_traceback",
        what="an operator reads a traceback instead of what to do",
        rule="a migration that does not get its lock says so",
        module="ops.management.commands.migrate",
        replace="except OUTAGE_ERRORS as error:",
        by="except NotImplementedError as error:",
        caught_by="tests/ops/test_commands.py::test_a_migration_that_does_not_get_its_lock_gives_up_in_plain_words",
        fails_with="django.db.utils.OperationalError",
    ),
)
