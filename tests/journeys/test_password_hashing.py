"""Registrations in bulk: a few passwords are hashed at a time, others wait apart from the rest, and more are refused."""

from contextlib import ExitStack, closing
from uuid import uuid4

from tests.concurrency import eventually
from tests.journeys.bulk_requests import OVERLOADED, count_answered, read_answer, send_post
from tests.journeys.gated_hasher import GATE, GatedHasher
from tests.journeys.test_serving import serve
from tests.journeys.test_slow_clients import assert_serves
from tests.shopper import Shopper

PATH = "/api/v1/auth/register"
REQUESTS, THREADS, QUEUE = 40, 2, 5
SETTINGS = {
    "WEB_WORKERS": "1", "WEB_THREADS": "4", "PASSWORD_HASHING_THREADS": str(THREADS), "PASSWORD_HASHING_QUEUE": str(QUEUE),
    "PASSWORD_HASHERS": f"{GatedHasher.__module__}.{GatedHasher.__name__}",
}  # fmt: skip


def build_account() -> dict[str, str]:
    return {"email": f"{uuid4().hex}@example.com", "password": "a walk in the orchard", "full_name": "Ada"}


def test_registrations_in_bulk_are_refused_beyond_their_queue_and_take_no_threads_of_others(tmp_path):
    gate = tmp_path / "gate"
    gate.touch()
    accounts = [build_account() for _ in range(REQUESTS)]
    with serve(**SETTINGS, **{GATE: str(gate)}) as shop, ExitStack() as stack:
        sent = [stack.enter_context(closing(send_post(shop, PATH, account))) for account in accounts]
        eventually(lambda: count_answered(sent) == REQUESTS - THREADS - QUEUE)
        assert_serves(shop)
        assert count_answered(sent) == REQUESTS - THREADS - QUEUE
        gate.unlink()
        answers = [read_answer(connection) for connection in sent]
        assert answers.count((201, None, "")) == THREADS + QUEUE
        assert answers.count(OVERLOADED) == REQUESTS - THREADS - QUEUE
        refused = accounts[answers.index(OVERLOADED)]
        repeated = Shopper(shop.site).send("POST", "auth/register", refused, Content_Type="application/json")
        assert repeated.status == 201, "nothing was stored for the refused request"
