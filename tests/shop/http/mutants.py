"""Planted bugs that the tests of this folder catch. Run them with `make mutants`."""

from tests.mutants.planted import Change, Mutant

MUTANTS = (
    Mutant(
        name="idempotency_key_not_scoped_to_guest",
        what="two guests who use the same key share one request",
        rule="protocol 5: the scope of a key is the user, for guests a hash of e-mail and cart",
        module="shop.http.idempotency",
        replace="owner = compute_keyed_hash(f\"{getattr(body, 'email', '')} {getattr(body, 'cart_id', '')}\".encode())",
        by='owner = "guest"',
        caught_by="tests/shop/http/test_idempotency.py::test_scopes_are_independent",
    ),
    Mutant(
        name="idempotency_key_stored_outside_transaction",
        what="a request that failed has used its key",
        rule="protocol 5: the key row is written in the transaction of its effect",
        module="shop.http.idempotency",
        replace="    if stored is None:",
        by="""\
    if stored is None:
        record(alias, key)""",
        caught_by="tests/shop/http/test_idempotency.py::test_an_error_stores_no_key_and_no_effect",
        also=(
            Change(
                "shop.http.idempotency",
                """\
            record(alias, key)
""",
                "",
            ),
        ),
    ),
    Mutant(
        name="idempotency_key_response_changes",
        what="a repeat gets another response than the first request",
        rule="protocol 5: a final response is stored and does not change",
        module="shop.http.idempotency",
        replace="UPDATE shop_idempotencykey SET status = coalesce(status, %s), body = coalesce(body, %s)",
        by="UPDATE shop_idempotencykey SET status = coalesce(%s, status), body = coalesce(%s, body)",
        caught_by="tests/shop/http/test_idempotency.py::test_the_first_final_response_stays",
    ),
    Mutant(
        name="idempotency_key_without_fingerprint",
        what="a key that was used for one request returns its response to a different one",
        rule="protocol 5: the same key with another body is 422",
        module="shop.http.idempotency",
        replace="if not is_same_hash(fingerprint, key.fingerprint):",
        by="if not is_same_hash(fingerprint, fingerprint):",
        caught_by="tests/shop/http/test_idempotency.py::test_another_body_with_the_same_key_is_refused",
        fails_with="KeyError",
    ),
)
