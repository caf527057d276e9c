"""Refresh tokens: one use each, and a session that ends for everybody when somebody brings one twice."""

import threading
import time
import uuid
from hashlib import sha256

import pytest

from contexts.users.handlers import forget_what_has_run_out
from contexts.users.service import staff
from contexts.users.service.sessions import ROTATE
from shop.database import changed, rows, transaction
from tests.threads import crowd
from tests.users.people import code, post, refresh, send, sign_in, somebody, tokens

REFUSED = (401, "users.refresh_refused")
GUARD = "AND token.used_at IS NULL "


def digest(token: str) -> str:
    return sha256(token.encode()).hexdigest()


def logout(token: str) -> int:
    return post("auth/logout", {"refresh": token}).status_code


def outdate(token: str, interval: str) -> None:
    done = changed(
        "users",
        "UPDATE users_refreshtoken SET expires_at = now() - %s::interval WHERE digest = %s",
        [interval, digest(token)],
    )
    assert done == 1


def test_a_refresh_token_is_exchanged_for_the_next_pair():
    person = somebody()
    access, first = tokens(person)
    for _ in range(3):
        answer = refresh(first)
        assert answer.status_code == 200
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.json()["refresh"] != first
        assert answer.json()["access"] != access
        access, first = answer.json()["access"], answer.json()["refresh"]
        assert send("get", "users/me", token=access).json()["id"] == str(person.id)


def test_bringing_a_used_token_again_ends_the_session_but_no_other():
    person = somebody()
    _, first = tokens(person)
    _, elsewhere = tokens(person)
    second = refresh(first).json()["refresh"]
    third = refresh(second).json()["refresh"]
    assert code(refresh(first)) == REFUSED
    assert [code(refresh(token)) for token in (third, second, first)] == [REFUSED] * 3
    assert refresh(elsewhere).status_code == 200


def test_of_twenty_who_bring_one_token_at_once_one_succeeds_and_then_the_session_is_over():
    _, token = tokens(somebody())
    answers = crowd(20, lambda _: refresh(token))
    assert sorted(answer.status_code for answer in answers) == [200] + [401] * 19
    [winner] = [answer for answer in answers if answer.status_code == 200]
    assert code(refresh(winner.json()["refresh"])) == REFUSED


def test_without_its_condition_the_rotation_would_let_all_twenty_through():
    """The control of the race above: the same statement without `used_at IS NULL`."""
    _, token = tokens(somebody())
    assert GUARD in ROTATE
    unguarded = ROTATE.replace(GUARD, "")
    winners = crowd(20, lambda _: len(rows("users", unguarded, [digest(token)])))
    assert sum(winners) == 20


def test_a_session_that_is_ended_while_its_token_rotates_stays_ended():
    for _ in range(5):
        _, first = tokens(somebody())
        second = refresh(first).json()["refresh"]
        rotated, reused = crowd(2, lambda n, used=first, live=second: refresh(used if n else live))
        assert reused.status_code == 401
        last = rotated.json()["refresh"] if rotated.status_code == 200 else second
        assert code(refresh(last)) == REFUSED


def test_a_flag_on_each_token_would_miss_the_token_that_is_being_made():
    """The control: why revocation is a flag of the family. A revoking UPDATE over tokens does not see the new row."""
    copy = f"copy_{uuid.uuid4().hex}"
    changed("users", f"CREATE TABLE {copy} (digest text, family int, used bool, revoked bool)")
    changed("users", f"INSERT INTO {copy} VALUES ('old', 1, false, false)")
    rotated, revoking = threading.Event(), threading.Event()

    def run(index: int) -> None:
        if index:
            rotated.wait(10)
            revoking.set()
            changed("users", f"UPDATE {copy} SET revoked = true WHERE family = 1")
        else:
            rotate_slowly(copy, rotated, revoking)

    crowd(2, run)
    assert rows("users", f"SELECT digest FROM {copy} WHERE NOT revoked") == [("new",)]
    changed("users", f"DROP TABLE {copy}")


def rotate_slowly(table: str, rotated: threading.Event, revoking: threading.Event) -> None:
    """Rotate, and do not commit before the other's UPDATE waits for our row."""
    waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE %s"
    patience = time.monotonic() + 10
    with transaction("users"):
        changed("users", f"UPDATE {table} SET used = true WHERE digest = 'old'")
        changed("users", f"INSERT INTO {table} VALUES ('new', 1, false, false)")
        rotated.set()
        revoking.wait(10)
        while rows("users", waits, [f"UPDATE {table} SET revoked%"]) == [(0,)] and time.monotonic() < patience:
            rows("users", "SELECT pg_stat_clear_snapshot()")


def test_signing_out_ends_the_session_and_may_be_repeated():
    person = somebody()
    _, token = tokens(person)
    _, elsewhere = tokens(person)
    assert [logout(token), logout(token), logout("never seen")] == [204, 204, 204]
    assert code(refresh(token)) == REFUSED
    assert refresh(elsewhere).status_code == 200


def test_signing_out_with_a_used_token_ends_the_session_too():
    _, first = tokens(somebody())
    second = refresh(first).json()["refresh"]
    assert logout(first) == 204
    assert code(refresh(second)) == REFUSED


def test_a_token_that_has_run_out_is_refused():
    _, token = tokens(somebody())
    outdate(token, "1 second")
    assert code(refresh(token)) == REFUSED


@pytest.mark.parametrize("token", ["unknown", "a" * 128, "\u00e9", "' OR 1=1 --"])
def test_what_is_no_refresh_token_of_ours_is_refused(token):
    assert code(refresh(token)) == REFUSED


def test_an_access_token_does_not_refresh():
    access, _ = tokens(somebody())
    assert refresh(access[:128]).status_code == 401


def test_somebody_disabled_neither_signs_in_nor_refreshes_until_enabled():
    person = somebody()
    access, token = tokens(person)
    staff.disable(person.id, actor="test")
    assert code(sign_in(person)) == (401, "users.sign_in_failed")
    assert code(refresh(token)) == REFUSED
    assert code(send("get", "users/me", token=access)) == (401, "shop.unauthenticated")
    assert code(send("patch", "users/me", {"full_name": "B"}, token=access)) == (401, "shop.unauthenticated")

    staff.enable(person.id, actor="test")
    assert sign_in(person).status_code == 200
    assert code(refresh(token)) == REFUSED  # what was ended stays so


def test_the_timer_forgets_what_ran_out_and_keeps_what_did_not():
    person = somebody()
    (_, kept), (_, recent), (_, old) = tokens(person), tokens(person), tokens(person)
    outdate(recent, "1 hour")
    outdate(old, "25 hours")
    forget_what_has_run_out()
    left = rows(
        "users",
        """SELECT digest FROM users_refreshtoken token JOIN users_tokenfamily family ON family.id = family_id
           WHERE user_id = %s""",
        [person.id],
    )
    assert {known for (known,) in left} == {digest(kept), digest(recent)}
    assert rows("users", "SELECT count(*) FROM users_tokenfamily WHERE user_id = %s", [person.id]) == [(2,)]
    assert refresh(kept).status_code == 200
