"""Planted bugs that the tests of this folder catch. Run them with `make mutants`."""

from tests.mutants.planted import Mutant

MUTANTS = (
    Mutant(
        name="call_ignores_unknown_argument",
        what="a callee of the previous release ignores an argument that it does not know",
        rule="a call with an unknown argument is refused, never executed without it",
        module="shop.calls.methods",
        replace="arguments = msgspec.defstruct(function.__name__, fields, kw_only=True, forbid_unknown_fields=True)",
        by="arguments = msgspec.defstruct(function.__name__, fields, kw_only=True)",
        caught_by="tests/releases/test_rolling.py::test_a_new_argument_is_never_dropped_by_the_old_release",
    ),
    Mutant(
        name="remote_retries_the_process_that_refused",
        what="a call that one process refused is retried on the same process, although another one would execute it",
        rule="docs/guarantees.md: old and new version of a context run side by side",
        module="shop.calls.remote.client",
        replace="if response.status == 200 and not response.will_close:",
        by="if not response.will_close:",
        caught_by="tests/releases/test_rolling.py::test_a_new_argument_is_never_dropped_by_the_old_release",
    ),
)
