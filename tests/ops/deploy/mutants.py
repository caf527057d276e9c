"""Planted bugs that the tests of this folder catch. Run them with `make mutants`."""

from tests.mutants.planted import Mutant

MUTANTS = (
    Mutant(
        name="policy_without_callers",
        what="every pod of the cluster may send requests to the shop, past the proxy that reports who its clients are",
        rule="Kubernetes: each policy names who may connect",
        module="ops.deploy.manifests",
        replace='    - ports: [{port: public}]\n      from: [{namespaceSelector: {matchLabels: {satsuma/proxy: "true"}}}]  # where the TLS proxy runs',
        by="    - ports: [{port: public}]",
        caught_by="tests/ops/deploy/test_hardening.py::test_the_same_holds_for_any_arrangement",
    ),
    Mutant(
        name="gateway_passes_on_an_address",
        what="a client names its own address in X-Real-IP, and the gateway passes it on",
        rule="gateway: forwarding headers of clients are dropped",
        module="ops.deploy.gateway",
        replace="""proxy_set_header {name} "";' for name in DROPPED_HEADERS""",
        by="""proxy_set_header {name} "";' for name in DROPPED_HEADERS if name != "X-Real-IP\"""",
        caught_by="tests/ops/deploy/test_running_gateway.py::test_forwarding_headers_of_clients_are_dropped",
    ),
)
