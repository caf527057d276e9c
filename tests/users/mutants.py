"""Planted bugs that the tests of this folder catch. Run them with `make mutants`."""

from tests.mutants.planted import Change, Mutant

MUTANTS = (
    Mutant(
        name="admin_shows_outage_as_wrong_password",
        what="a sign-in that could not be checked because of an outage is shown as a wrong password",
        rule="reliability 28: an outage is a declared 503",
        module="config.admin_site",
        replace="""\
                self.is_users_available = False
""",
        by="",
        caught_by="tests/users/test_staff.py::test_a_sign_in_during_an_outage_is_not_a_wrong_password",
    ),
    Mutant(
        name="admin_fails_during_outage",
        what="an admin page fails with 500 while users is unavailable and cannot renew the session",
        rule="reliability 28: no 5xx other than declared 503 during outages",
        module="config.admin_site",
        replace="""\
        try:
            request.user = self._authenticate(request) if request.path.startswith("/admin") else AnonymousCaller()  # type: ignore[assignment]
        except Unavailable:
            return _build_unavailable_response()""",
        by='        request.user = self._authenticate(request) if request.path.startswith("/admin") else AnonymousCaller()  # type: ignore[assignment]',
        caught_by="tests/users/test_staff.py::test_staff_stay_signed_in_while_users_is_unavailable",
        fails_with="shop.errors.Unavailable",
    ),
    Mutant(
        name="refresh_token_is_reusable",
        what="a refresh token can be used repeatedly",
        rule="Sessions: refresh rotates; a token has a single use",
        module="contexts.users.service.sessions",
        replace="WHERE token.digest = %s AND token.used_at IS NULL AND token.expires_at > now()",
        by="WHERE token.digest = %s AND token.expires_at > now()",
        caught_by="tests/users/test_sessions.py::test_of_twenty_concurrent_refreshes_one_succeeds_and_the_session_is_revoked",
    ),
    Mutant(
        name="refresh_token_outlives_its_session",
        what="a revoked session can be continued with its last refresh token",
        rule="Sessions: reuse revokes the family",
        module="contexts.users.service.sessions",
        replace="AND family.id = token.family_id AND NOT family.revoked",
        by="AND family.id = token.family_id",
        caught_by="tests/users/test_sessions.py::test_signing_out_ends_the_session_and_can_be_repeated",
    ),
    Mutant(
        name="refresh_token_reuse_is_not_detected",
        what="the reuse of a stolen refresh token does not revoke its session",
        rule="Sessions: refresh rotates, reuse revokes the family",
        module="contexts.users.service.sessions",
        replace="""\
        elif execute("users", _REVOKE_FAMILY_SQL, [digest]):
            log.warning("token_family_revoked", reason="refresh token reused or expired, or account disabled")
""",
        by="",
        caught_by="tests/users/test_sessions.py::test_reusing_a_refresh_token_revokes_its_session_only",
    ),
    Mutant(
        name="sign_in_counts_after_the_password",
        what="a burst of guesses is checked beyond the limit",
        rule="Sessions: the number of checked passwords never exceeds the limit",
        module="contexts.users.service.sessions",
        replace="""\
    sign_in_throttle.count_attempt(throttle_keys)
""",
        by="",
        caught_by="tests/users/test_sign_in_throttle.py::test_the_right_password_is_refused_at_the_limit_and_accepted_after_the_window",
        also=(
            Change(
                "contexts.users.service.sessions",
                "    if user is None or not is_correct or not user.is_active:",
                """\
    if user is None or not is_correct or not user.is_active:
        sign_in_throttle.count_attempt(throttle_keys)""",
            ),
        ),
    ),
)
