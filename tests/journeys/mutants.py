"""Bugs that the tests of this folder catch: `make mutants`."""

from tests.mutants.planted import Mutant

MUTANTS = (
    Mutant(
        name="bodies_have_no_deadline",
        what="a body may take any time to arrive",
        rule="a body that does not arrive in time is answered with 408",
        module="shop.request_buffer",
        replace="async with asyncio.timeout(self.body_timeout_seconds):",
        by="async with asyncio.timeout(None):",
        caught_by="tests/journeys/test_slow_clients.py::test_a_body_that_does_not_arrive_in_time_is_answered_with_408",
        fails_with="TimeoutError",
    ),
    Mutant(
        name="half_a_request_is_carried_out",
        what="a request whose client disconnected before the end of its body is carried out",
        rule="bad input leaves nothing half-done",
        module="shop.request_buffer",
        replace="if len(body) != int(length):",
        by="if len(body) > int(length):",
        caught_by="tests/journeys/test_slow_clients.py::test_an_unfinished_request_is_not_carried_out",
    ),
    Mutant(
        name="an_unreadable_header_is_ignored",
        what="a header outside of ASCII is treated as if it had not been sent",
        rule="nothing is silently ignored",
        module="shop.request_buffer",
        replace="headers += [(name, UNREADABLE)",
        by="[(name, UNREADABLE)",
        caught_by="tests/journeys/test_slow_clients.py::test_a_header_that_is_no_ascii_is_refused_and_not_ignored",
    ),
    Mutant(
        name="health_waits_for_a_thread",
        what="health checks wait until a thread that handles requests is free",
        rule="health answers from its own thread",
        module="shop.request_buffer",
        replace="threads = self.probe_threads.get(scope.path, self.threads)",
        by="threads = self.threads",
        caught_by="tests/journeys/test_slow_clients.py::test_a_busy_shop_answers_health_checks",
        fails_with="TimeoutError",
    ),
    Mutant(
        name="remote_gives_up_after_one_try",
        what="a single lost request is an outage for the caller",
        rule="ADR 16: a call is retried as its method declares",
        module="shop.calls.remote.client",
        replace="if attempt + 1 == MAX_ATTEMPTS or time.monotonic() + pause >= expires_at:",
        by="if attempt + 1 == 1 or time.monotonic() + pause >= expires_at:",
        caught_by="tests/journeys/test_outages.py::test_each_action_responds_as_declared[inventory-flapping-put_into_cart]",
    ),
)
