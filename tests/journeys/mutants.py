"""Bugs that the tests of this folder catch: `make mutants`."""

from tests.mutants.planted import Mutant

MUTANTS = (
    Mutant(
        name="remote_gives_up_after_one_try",
        what="a single lost request is an outage for the caller",
        rule="DESIGN 3: remote retries by class",
        module="shop.calls.remote.client",
        replace="if attempt + 1 == MAX_ATTEMPTS or time.monotonic() + pause >= expires_at:",
        by="if attempt + 1 == 1 or time.monotonic() + pause >= expires_at:",
        caught_by="tests/journeys/test_outages.py::test_each_action_responds_as_declared[inventory-flapping-put_into_cart]",
    ),
)
