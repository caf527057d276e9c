"""Refresh tokens: each has one successor, a repeat is tolerated for some seconds, and reuse revokes the whole session."""

import base64
import threading
import time
import uuid
from datetime import timedelta
from hashlib import sha256

import pytest
from django.conf import settings

from contexts.users.service import staff
from contexts.users.service.sessions import ROTATE_TOKEN_SQL
from shop.db.database import execute, fetch_rows, transaction
from shop.purging import purge_now
from tests.concurrency import repeat_concurrently
from tests.users.accounts import issue_tokens, post, problem_of, refresh, register_person, send, sign_in

REFUSED = (401, "users.refresh_refused")
GRACE_GUARD_SQL = "(%(grace)s > interval '0' AND token.used_at > now() - %(grace)s)"


def digest(token: str) -> str:
    return sha256(token.encode()).hexdigest()


def backdate_use(token: str, seconds: float) -> None:
    sql = "UPDATE users_refreshtoken SET used_at = used_at - %s * interval '1 second' WHERE digest = %s"
    assert execute("users", sql, [seconds, digest(token)]) == 1


@pytest.fixture
def without_grace(settings):
    settings.REFRESH_GRACE_SECONDS = 0


def logout(token: str) -> int:
    return post("auth/logout", {"refresh": token}).status_code


def backdate(token: str, interval: str) -> None:
    sql = "UPDATE users_refreshtoken SET expires_at = now() - %s::interval WHERE digest = %s"
    assert execute("users", sql, [interval, digest(token)]) == 1


def test_a_refresh_token_is_exchanged_for_the_next_pair():
    person = register_person()
    access, first = issue_tokens(person)
    for _ in range(3):
        response = refresh(first)
        assert response.status_code == 200
        assert response.headers["Cache-Control"] == "no-store"
        assert response.json()["refresh"] != first
        assert response.json()["access"] != access
        access, first = response.json()["access"], response.json()["refresh"]
        assert send("get", "users/me", token=access).json()["id"] == str(person.id)


def test_reusing_a_refresh_token_revokes_its_session_only():
    person = register_person()
    _, first = issue_tokens(person)
    _, other_session = issue_tokens(person)
    second = refresh(first).json()["refresh"]
    third = refresh(second).json()["refresh"]
    assert problem_of(refresh(first)) == REFUSED
    assert [problem_of(refresh(token)) for token in (third, second, first)] == [REFUSED] * 3
    assert refresh(other_session).status_code == 200


def test_of_twenty_concurrent_refreshes_without_grace_one_succeeds_and_the_session_is_revoked(without_grace):
    _, token = issue_tokens(register_person())
    responses = repeat_concurrently(20, lambda _: refresh(token))
    assert sorted(response.status_code for response in responses) == [200] + [401] * 19
    [winner] = [response for response in responses if response.status_code == 200]
    assert problem_of(refresh(winner.json()["refresh"])) == REFUSED


def test_twenty_concurrent_refreshes_get_the_same_successor_which_continues_the_session(verified):
    _, token = issue_tokens(register_person())
    responses = repeat_concurrently(20, lambda _: refresh(token))
    assert [response.status_code for response in responses] == [200] * 20
    [successor] = {response.json()["refresh"] for response in responses}
    assert successor != token
    assert refresh(successor).status_code == 200


def test_a_refresh_whose_response_was_lost_is_repeated_within_the_grace_time():
    person = register_person()
    _, token = issue_tokens(person)
    lost = refresh(token).json()["refresh"]
    backdate_use(token, settings.REFRESH_GRACE_SECONDS - 5)
    response = refresh(token)
    assert (response.status_code, response.json()["refresh"]) == (200, lost)
    assert send("get", "users/me", token=response.json()["access"]).json()["id"] == str(person.id)


def test_reuse_after_the_grace_time_revokes_the_session():
    _, token = issue_tokens(register_person())
    successor = refresh(token).json()["refresh"]
    backdate_use(token, settings.REFRESH_GRACE_SECONDS)
    assert [problem_of(refresh(one)) for one in (token, successor)] == [REFUSED] * 2


def test_a_repeat_does_not_prolong_the_grace_time():
    _, token = issue_tokens(register_person())
    refresh(token)
    backdate_use(token, settings.REFRESH_GRACE_SECONDS - 5)
    assert refresh(token).status_code == 200
    backdate_use(token, 5)
    assert problem_of(refresh(token)) == REFUSED


def test_a_token_used_before_the_grace_time_existed_has_no_derived_successor():
    """A token whose successor is random, as a former release stored it, is not rotated a second time."""
    _, token = issue_tokens(register_person())
    execute("users", "UPDATE users_refreshtoken SET used_at = now() WHERE digest = %s", [digest(token)])
    assert problem_of(refresh(token)) == REFUSED


def test_a_session_that_was_ended_is_not_continued_within_the_grace_time():
    _, token = issue_tokens(register_person())
    successor = refresh(token).json()["refresh"]
    assert logout(successor) == 204
    assert problem_of(refresh(token)) == REFUSED


def test_control_without_its_condition_the_rotation_accepts_a_token_at_any_time():
    """Negative control of the reuse detection: the same statement without the end of the grace time."""
    _, token = issue_tokens(register_person())
    refresh(token)
    backdate_use(token, 3600)
    grace, longest = timedelta(seconds=settings.REFRESH_GRACE_SECONDS), timedelta(days=settings.SESSION_DAYS)
    parameters = {"digest": digest(token), "grace": grace, "longest": longest}
    assert GRACE_GUARD_SQL in ROTATE_TOKEN_SQL
    assert fetch_rows("users", ROTATE_TOKEN_SQL, parameters) == []
    assert len(fetch_rows("users", ROTATE_TOKEN_SQL.replace(GRACE_GUARD_SQL, "true"), parameters)) == 1


def test_a_session_revoked_during_a_rotation_stays_revoked(without_grace):
    for _ in range(5):
        _, first = issue_tokens(register_person())
        second = refresh(first).json()["refresh"]
        rotated, reused = repeat_concurrently(2, lambda n, used=first, live=second: refresh(used if n else live))
        assert reused.status_code == 401
        last = rotated.json()["refresh"] if rotated.status_code == 200 else second
        assert problem_of(refresh(last)) == REFUSED


def test_control_a_flag_per_token_misses_a_token_that_is_being_inserted():
    """Negative control: with a flag per token, the revoking UPDATE does not see the uncommitted new row."""
    copy = f"copy_{uuid.uuid4().hex}"
    execute("users", f"CREATE TABLE {copy} (digest text, family int, used bool, revoked bool)")
    execute("users", f"INSERT INTO {copy} VALUES ('old', 1, false, false)")
    rotated, revoking = threading.Event(), threading.Event()

    def run(index: int) -> None:
        if index:
            rotated.wait(10)
            revoking.set()
            execute("users", f"UPDATE {copy} SET revoked = true WHERE family = 1")
        else:
            rotate_slowly(copy, rotated, revoking)

    repeat_concurrently(2, run)
    assert fetch_rows("users", f"SELECT digest FROM {copy} WHERE NOT revoked") == [("new",)]
    execute("users", f"DROP TABLE {copy}")


def rotate_slowly(table: str, rotated: threading.Event, revoking: threading.Event) -> None:
    """Rotate, and commit only after the concurrent UPDATE waits for the row."""
    waiting_sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE %s"
    deadline = time.monotonic() + 10
    with transaction("users"):
        execute("users", f"UPDATE {table} SET used = true WHERE digest = 'old'")
        execute("users", f"INSERT INTO {table} VALUES ('new', 1, false, false)")
        rotated.set()
        revoking.wait(10)
        while (
            fetch_rows("users", waiting_sql, [f"UPDATE {table} SET revoked%"]) == [(0,)] and time.monotonic() < deadline
        ):
            fetch_rows("users", "SELECT pg_stat_clear_snapshot()")


def test_signing_out_ends_the_session_and_can_be_repeated():
    person = register_person()
    _, token = issue_tokens(person)
    _, other_session = issue_tokens(person)
    assert [logout(token), logout(token), logout("unknown")] == [204, 204, 204]
    assert problem_of(refresh(token)) == REFUSED
    assert refresh(other_session).status_code == 200


def test_signing_out_with_a_used_token_ends_the_session_too():
    _, first = issue_tokens(register_person())
    second = refresh(first).json()["refresh"]
    assert logout(first) == 204
    assert problem_of(refresh(second)) == REFUSED


def test_an_expired_token_is_refused():
    _, token = issue_tokens(register_person())
    backdate(token, "1 second")
    assert problem_of(refresh(token)) == REFUSED


def test_a_refresh_token_has_256_random_bits():
    person = register_person()
    found = {issue_tokens(person)[1] for _ in range(3)}
    found |= {refresh(token).json()["refresh"] for token in found}
    assert len(found) == 6
    assert {len(base64.urlsafe_b64decode(f"{token}=")) for token in found} == {32}


def backdate_session(token: str, days: float) -> None:
    """Move the start of a session into the past. Its tokens stay as they are."""
    sql = """UPDATE users_tokenfamily SET began_at = began_at - %s * interval '1 day'
             WHERE id = (SELECT family_id FROM users_refreshtoken WHERE digest = %s)"""
    assert execute("users", sql, [days, digest(token)]) == 1


def test_a_session_ends_at_its_absolute_limit_however_often_it_is_refreshed():
    person = register_person()
    _, token = issue_tokens(person)
    backdate_session(token, settings.SESSION_DAYS - 0.01)
    token = refresh(token).json()["refresh"]
    backdate_session(token, 0.02)
    assert problem_of(refresh(token)) == REFUSED
    backdate_session(token, -1)
    assert problem_of(refresh(token)) == REFUSED, "the session was revoked"
    assert sign_in(person).status_code == 200


@pytest.mark.parametrize("token", ["unknown", "a" * 128, "\u00e9", "' OR 1=1 --"])
def test_an_unknown_refresh_token_is_refused(token):
    assert problem_of(refresh(token)) == REFUSED


def test_an_access_token_does_not_refresh():
    access, _ = issue_tokens(register_person())
    assert refresh(access[:128]).status_code == 401


def test_a_disabled_account_neither_signs_in_nor_refreshes_until_enabled():
    person = register_person()
    access, token = issue_tokens(person)
    staff.disable(person.id, actor=staff.as_operator("test"))
    assert problem_of(sign_in(person)) == (401, "users.sign_in_failed")
    assert problem_of(refresh(token)) == REFUSED
    assert problem_of(send("get", "users/me", token=access)) == (401, "shop.unauthenticated")
    assert problem_of(send("patch", "users/me", {"full_name": "B"}, token=access)) == (401, "shop.unauthenticated")

    staff.enable(person.id, actor=staff.as_operator("test"))
    assert sign_in(person).status_code == 200
    assert problem_of(refresh(token)) == REFUSED  # revoked sessions stay revoked


def test_a_purge_deletes_expired_tokens_only():
    person = register_person()
    (_, kept), (_, recent), (_, old) = issue_tokens(person), issue_tokens(person), issue_tokens(person)
    backdate(recent, "1 hour")
    backdate(old, "25 hours")
    purge_now("users")
    remaining = fetch_rows(
        "users",
        """SELECT digest FROM users_refreshtoken token JOIN users_tokenfamily family ON family.id = family_id
           WHERE user_id = %s""",
        [person.id],
    )
    assert {token_digest for (token_digest,) in remaining} == {digest(kept), digest(recent)}
    assert fetch_rows("users", "SELECT count(*) FROM users_tokenfamily WHERE user_id = %s", [person.id]) == [(2,)]
    assert refresh(kept).status_code == 200
