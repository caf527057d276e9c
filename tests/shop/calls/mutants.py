"""Bugs that the tests of this folder catch: `make mutants`."""

from tests.mutants.planted import Change, Mutant

MUTANTS = (
    Mutant(
        name="any_certificate_is_trusted",
        what="a call to an https:// address goes to whoever answers there, with whatever certificate",
        rule="ASVS V12.3.2: certificates are checked",
        module="shop.calls.remote.client",
        replace="http.client.HTTPSConnection if address",
        by="""(
            lambda *a, **b: http.client.HTTPSConnection(*a, context=ssl._create_unverified_context(), **b)
        ) if address""",
        caught_by="tests/shop/calls/remote/test_tls.py::test_a_server_with_a_certificate_that_is_not_trusted_is_not_called",
    ),
    Mutant(
        name="local_call_inside_transaction",
        what="another context is called inside a transaction, by a plain call",
        rule="protocol 1.3: no call, not even a read, while a transaction is open on any alias",
        module="shop.calls.services",
        replace="if transaction_state.open_aliases:",
        by='if transaction_state.open_aliases and method.retry_policy != "read":',
        caught_by="tests/shop/calls/test_services.py::test_every_call_is_refused_while_a_transaction_is_open",
    ),
    Mutant(
        name="loopback_call_inside_transaction",
        what="another context is called inside a transaction, through the wire format",
        rule="protocol 1.3: no call, not even a read, while a transaction is open on any alias",
        module="shop.calls.services",
        replace="""\
        assert_no_open_transaction(f"{method.name} was called")
""",
        by="",
        caught_by="tests/shop/calls/test_services.py::test_every_call_is_refused_while_a_transaction_is_open",
    ),
    Mutant(
        name="remote_executes_expired_call",
        what="the server executes a call whose caller has stopped waiting",
        rule="ADR 16: the deadline is passed along the call chain",
        module="shop.calls.remote.server",
        replace="""\
    if seconds <= 0:
        raise CallRefused("504 Gateway Timeout")
""",
        by="",
        caught_by="tests/shop/calls/remote/test_server.py::test_a_request_past_its_deadline_is_504",
    ),
    Mutant(
        name="remote_retries_unrepeatable_call",
        what="a call that may not be repeated is sent again after its reply was lost",
        rule="ADR 16: the transport never repeats @once",
        module="shop.calls.remote.client",
        replace="""\
                if method.retry_policy == "once":
                    break
""",
        by="",
        caught_by="tests/shop/calls/remote/test_client.py::test_an_uncertain_call_is_retried_only_if_it_is_idempotent",
    ),
    Mutant(
        name="remote_accepts_expired_signature",
        what="a signature never expires",
        rule="ADR 16: the signature of an internal call is valid for a short time",
        module="shop.calls.remote.signature",
        replace="is_fresh = abs(time.time() - int(at)) <= SIGNATURE_WINDOW_SECONDS",
        by="is_fresh = bool(int(at))",
        caught_by="tests/shop/calls/remote/test_signature.py::test_a_signature_outside_the_time_window_is_refused",
    ),
    Mutant(
        name="remote_ignores_caller_deadline",
        what="the callee's own calls may take longer than the caller waits",
        rule="ADR 16: the deadline is passed along the call chain",
        module="shop.calls.remote.server",
        replace="with tracing.use_trace(_trace_decoder.decode(trace)), deadline(seconds):",
        by="with tracing.use_trace(_trace_decoder.decode(trace)):",
        caught_by="tests/shop/calls/remote/test_server.py::test_the_deadline_is_passed_to_the_callee",
    ),
    Mutant(
        name="remote_accepts_replayed_request",
        what="a recorded request can be replayed",
        rule="protocol 1, ADR 16: an internal call cannot be replayed",
        module="shop.calls.remote.server",
        replace="        if served.record(nonce):",
        by="        if nonce:",
        caught_by="tests/shop/calls/remote/test_signature.py::test_a_replayed_request_is_refused",
    ),
    Mutant(
        name="remote_accepts_request_of_another_process",
        what="a recorded request can be replayed to another process of the same context",
        rule="protocol 1, ADR 16: an internal call cannot be replayed",
        module="shop.calls.remote.server",
        replace="        if served.record(nonce):",
        by="""\
        seen = vars(record_nonce).setdefault("seen", set())
        if nonce not in seen and not seen.add(nonce):
""",
        caught_by="tests/shop/calls/remote/test_signature.py::test_a_request_that_another_process_has_received_is_refused",
    ),
    Mutant(
        name="remote_signature_omits_body",
        what="the signature does not cover the request body",
        rule="ADR 16: a forged internal call is refused",
        module="shop.calls.remote.signature",
        replace="(path.encode(), signed_fields.encode(), trace.encode(), body)",
        by="(path.encode(), signed_fields.encode(), trace.encode())",
        caught_by="tests/shop/calls/remote/test_signature.py::test_a_signature_for_another_body_or_method_is_refused",
    ),
    Mutant(
        name="remote_has_no_concurrency_limit",
        what="one slow context occupies every thread of its callers",
        rule="ADR 16: the number of concurrent calls to one callee is limited",
        module="shop.calls.remote.client",
        replace="self.slots = threading.BoundedSemaphore(MAX_CONCURRENT_CALLS)",
        by="self.slots = threading.BoundedSemaphore(1_000)",
        caught_by="tests/shop/calls/remote/test_client.py::test_calls_to_a_slow_context_are_limited_in_number",
    ),
    Mutant(
        name="call_metrics_overwrite_other_processes",
        what="the counts of one process overwrite those of another",
        rule="one process or five, the same figures: the database adds up the counts",
        module="shop.calls.call_metrics",
        replace='''\
    """Return the caller's name for a module: `contexts.orders.checkout` is orders, `config.admin_site` is admin."""
    parts = module.split(".")
    return parts[1] if parts[0] == "contexts" else parts[-1].removesuffix("_site")''',
        by='''\
    """Return the caller's name for a module: `contexts.orders.checkout` is orders, `config.admin_site` is admin."""
    parts = module.split(".")
    return parts[1] if parts[0] == "contexts" else parts[-1]''',
        caught_by="tests/shop/calls/test_call_metrics.py::test_counts_of_two_processes_are_added_up",
        also=(
            Change(
                "shop.calls.call_metrics",
                "calls = before.calls + excluded.calls, failed = before.failed + excluded.failed,",
                "calls = excluded.calls, failed = excluded.failed,",
            ),
        ),
    ),
)
