"""Planted bugs that the tests of this folder catch. Run them with `make mutants`."""

from tests.mutants.planted import Mutant

MUTANTS = (
    Mutant(
        name="removed_member_breaks_no_client",
        what="a member of a response disappears, and the build passes",
        rule="OpenAPI: a breaking change fails the build",
        module="ops.topology.openapi",
        replace="for name in properties.keys() - changed]",
        by="for name in properties.keys() - properties]",
        caught_by="tests/ops/topology/test_openapi.py::test_a_change_that_breaks_clients_is_found",
    ),
)
