"""Planted bugs that the tests of this folder catch. Run them with `make mutants`."""

from tests.mutants.planted import Change, Mutant

MUTANTS = (
    Mutant(
        name="unbounded_password_hashing",
        what="every request hashes its password at once, each with 100 MB of memory and all cores",
        rule="settings: PASSWORD_HASHING_THREADS passwords are hashed at the same time",
        module="contexts.users.service.hashing",
        replace="    if not _slots.acquire(timeout=MAX_WAIT_SECONDS):\n        raise Overloaded\n    try:\n        yield\n    finally:\n        _slots.release()",
        by="    yield",
        caught_by="tests/users/test_hashing.py::test_no_more_passwords_are_hashed_at_the_same_time_than_the_setting_allows",
    ),
    Mutant(
        name="unchecked_sign_in_counts",
        what="a sign-in that was refused because the shop was busy delays the next one, as a wrong password does",
        rule="rate limits: only wrong passwords delay a sign-in",
        module="contexts.users.service.sessions",
        replace="        throttle.withdraw()\n",
        by="",
        caught_by="tests/users/test_hashing.py::test_a_sign_in_that_is_not_checked_in_time_is_refused_and_not_counted",
    ),
    Mutant(
        name="international_domain_has_two_accounts",
        what="the spellings of an international domain, in Unicode and encoded, are two accounts and two rate limits",
        rule="one address is one account",
        module="shop.addresses.email",
        replace='if domain.isascii() and "xn--" not in domain:',
        by="if domain:",
        caught_by="tests/users/test_accounts.py::test_spellings_of_an_international_domain_are_one_account",
    ),
    Mutant(
        name="international_address_cannot_register",
        what="a customer with the address jörg@example.com can order as a guest, but not register",
        rule="RFC 6531: a local part may have any letters",
        module="contexts.users.service.accounts",
        replace="        parse_customer_address(email)",
        by="""\
        if not email.isascii():
            raise InvalidAddress(email)
        parse_customer_address(email)""",
        caught_by="tests/users/test_accounts.py::test_an_international_address_can_register_and_sign_in",
    ),
    Mutant(
        name="former_account_signs_in_as_another",
        what="of two accounts that share an address since before, one signs in to the other",
        rule="Users: existing accounts sign in as before",
        module="contexts.users.service.accounts",
        replace="return max(found, key=lambda user: user.email == entered, default=None)",
        by="return max(found, key=lambda user: user.email != entered, default=None)",
        caught_by="tests/users/test_accounts.py::test_two_accounts_of_one_address_sign_in_with_their_own_spelling",
    ),
    Mutant(
        name="long_actor_is_cut",
        what="the audit trail does not tell staff apart whose addresses begin with the same 64 characters",
        rule="Audit: each change names who made it",
        module="contexts.users.service.signing",
        replace='"name": _get_display_name(user),',
        by='"name": _get_display_name(user)[:64],',
        caught_by="tests/users/test_staff.py::test_the_audit_trail_has_the_whole_address_of_staff_with_a_long_one",
    ),
    Mutant(
        name="admin_shows_outage_as_wrong_password",
        what="a sign-in that could not be checked because of an outage is shown as a wrong password",
        rule="docs/outages.md: a sign-in during an outage is a 503",
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
        rule="docs/outages.md: the only 5xx during an outage is a 503",
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
        replace="""\
  AND (token.used_at IS NULL OR (%(grace)s > interval '0' AND token.used_at > now() - %(grace)s))
""",
        by="",
        caught_by="tests/users/test_sessions.py::test_reuse_after_the_grace_time_revokes_the_session",
    ),
    Mutant(
        name="parallel_refresh_ends_the_session",
        what="a second tab that refreshes at the same time, or a repeat after a lost response, ends the session",
        rule="Sessions: a repeat within the grace time gets the same successor",
        module="contexts.users.service.sessions",
        replace="""\
  AND (token.used_at IS NULL OR (%(grace)s > interval '0' AND token.used_at > now() - %(grace)s))
""",
        by="""\
  AND token.used_at IS NULL
""",
        caught_by="tests/users/test_sessions.py::test_twenty_concurrent_refreshes_get_the_same_successor_which_continues_the_session",
    ),
    Mutant(
        name="grace_time_ignores_a_used_successor",
        what="within the grace time a copied token is accepted although its owner has used the successor",
        rule="Sessions: reuse revokes the family",
        module="contexts.users.service.sessions",
        replace="""\
    return rotated._replace(successor=by_digest[unused[0][0]]) if unused else None
""",
        by="""\
    return rotated
""",
        caught_by="tests/users/test_sessions.py::test_reusing_a_refresh_token_revokes_its_session_only",
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
        if rotated is None and execute("users", _REVOKE_FAMILY_SQL, [digest]):
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
    throttle.count()
""",
        by="",
        caught_by="tests/users/test_sign_in_throttle.py::test_a_burst_of_guesses_is_checked_up_to_the_free_attempts",
        also=(
            Change(
                "contexts.users.service.sessions",
                "    if user is None or not is_correct or not user.is_active or (",
                """\
    if user is None or not is_correct:
        throttle.count()
    if user is None or not is_correct or not user.is_active or (""",
            ),
        ),
    ),
    Mutant(
        name="wrong_passwords_lock_the_account",
        what="wrong passwords of one client delay every other client of the account",
        rule="Sessions: the right password from a client without a mistake is accepted",
        module="contexts.users.service.sign_in_throttle",
        replace='self.pairs = build_subjects(entrance, "client", f"{network} {account}")',
        by='self.pairs = build_subjects(entrance, "client", account)',
        caught_by="tests/users/test_sign_in_throttle.py::test_wrong_passwords_do_not_lock_the_right_one_of_another_client_out",
    ),
    Mutant(
        name="public_attempts_delay_staff",
        what="wrong passwords at the public API delay the sign-in of staff to the admin",
        rule="Sessions: staff are counted apart",
        module="contexts.users.service.sign_in_throttle",
        replace='return compute_keyed_hashes(f"sign-in {entrance} {kind} {name}".encode())',
        by='return compute_keyed_hashes(f"sign-in {kind} {name}".encode())',
        caught_by="tests/users/test_sign_in_throttle.py::test_wrong_public_sign_ins_do_not_delay_staff_in_the_admin",
    ),
    Mutant(
        name="new_secret_forgets_sign_in_attempts",
        what="a new SECRET_KEY gives everybody who guesses passwords new attempts",
        rule="Sessions: growing delays",
        module="contexts.users.service.sign_in_throttle",
        replace="WHERE subject = ANY(%(former_pairs)s) AND",
        by="WHERE subject <> ALL(%(former_pairs)s) AND false AND",
        caught_by="tests/users/test_secret_rotation.py::test_wrong_passwords_before_the_rotation_still_delay",
    ),
    Mutant(
        name="new_secret_ends_the_session_of_a_repeated_refresh",
        what="a refresh whose response was lost while SECRET_KEY was changed ends the session",
        rule="Sessions: a repeat within the grace time gets the same successor",
        module="contexts.users.service.sessions",
        replace="for secret in get_secrets()]",
        by="for secret in get_secrets()[:1]]",
        caught_by="tests/users/test_secret_rotation.py::test_a_refresh_repeated_after_the_rotation_gets_the_same_successor",
    ),
    Mutant(
        name="sign_in_delay_does_not_grow",
        what="each wrong password after the free ones costs the same second",
        rule="Sessions: growing delays",
        module="contexts.users.service.sign_in_throttle",
        replace="power(2, least(pair.count - %(free)s, 30))",
        by="1",
        caught_by="tests/users/test_sign_in_throttle.py::test_each_further_wrong_password_doubles_the_delay",
    ),
    Mutant(
        name="clerk_disables_superuser",
        what="staff disable an account that may do more than they",
        rule="Staff: staff remove no more than they have",
        module="contexts.users.service.staff",
        replace="""\
        _assert_may_decide_about(user, held)
        if user.is_active:
""",
        by="""\
        if user.is_active:
""",
        caught_by="tests/users/test_permissions.py::test_staff_cannot_disable_or_enable_an_account_that_may_do_more",
    ),
    Mutant(
        name="clerk_grants_everything",
        what="staff grant a permission that they do not have",
        rule="Staff: staff grant no more than they have",
        module="contexts.users.service.staff",
        replace="""\
    _assert_holds_changes(held, {*user.permissions} ^ {*permissions})
""",
        by="",
        caught_by="tests/users/test_permissions.py::test_staff_grant_and_take_only_permissions_that_they_have",
    ),
    Mutant(
        name="misspelt_permission_is_saved",
        what="a permission that nothing checks is granted",
        rule="Staff: unknown permissions are refused",
        module="contexts.users.service.staff",
        replace="if permission not in known:",
        by="if not known:",
        caught_by="tests/users/test_permissions.py::test_a_misspelt_permission_is_refused_with_the_known_ones",
    ),
    Mutant(
        name="last_superuser_is_disabled",
        what="two superusers disable each other at once, and none is left",
        rule="Staff: one active account keeps all permissions",
        module="contexts.users.service.staff",
        replace="""\
    fetch_rows("users", _LOCK_SQL)
""",
        by="",
        caught_by="tests/users/test_permissions.py::test_one_superuser_remains_when_several_disable_each_other_at_once",
    ),
    Mutant(
        name="create_staff_grants_everything_silently",
        what="create_staff for an existing account grants all permissions without being asked to",
        rule="Staff: create_staff changes what its options name",
        module="contexts.users.management.commands.create_staff",
        replace="account.id, permissions=permissions,",
        by="account.id, permissions=permissions or [ALL_PERMISSIONS],",
        caught_by="tests/users/test_permissions.py::test_the_command_grants_an_existing_account_only_what_it_names",
    ),
    Mutant(
        name="create_staff_appoints_a_squatter",
        what="create_staff grants permissions to an account that a stranger may have registered, without being asked to",
        rule="Staff: an existing account needs an explicit flag",
        module="contexts.users.management.commands.create_staff",
        replace="        if not existing:\n",
        by="        if False:\n",
        caught_by="tests/users/test_squatted_addresses.py::test_the_command_refuses_an_existing_account_without_a_flag",
    ),
    Mutant(
        name="squatter_keeps_the_password",
        what="a customer who is made staff in the admin keeps a password and sessions that another person may have",
        rule="Staff: an account that becomes one of staff gets a new password and loses its sessions",
        module="contexts.users.service.staff",
        replace='        password = generate_password() if permissions and not user.permissions else ""\n',
        by='        password = ""\n',
        caught_by="tests/users/test_squatted_addresses.py::test_a_customer_who_is_made_staff_in_the_admin_gets_a_new_password_and_loses_all_sessions",
    ),
    Mutant(
        name="squatter_signs_in_meanwhile",
        what="a sign-in whose old password was checked just before the new one was set starts a session",
        rule="Sessions: a new password ends all sessions",
        module="contexts.users.service.sessions",
        replace=" AND password = %(password)s FOR SHARE",
        by=" FOR SHARE",
        caught_by="tests/users/test_squatted_addresses.py::test_a_sign_in_that_began_before_the_new_password_starts_no_session",
    ),
    Mutant(
        name="stale_form_grants_revoked_permission",
        what="a form that was opened before a permission was revoked grants it again",
        rule="Admin: a form is saved only if the object still has the version that the form was opened with",
        module="contexts.users.service.staff",
        replace='        assert_version("users", "user", user_id, current=get_version(user), expected=expected_version)\n',
        by="",
        caught_by="tests/users/test_stale_forms.py::test_a_stale_form_does_not_grant_a_revoked_permission_again",
    ),
    Mutant(
        name="password_changed_without_the_current_one",
        what="a member of staff can set a new password without knowing the current one",
        rule="Admin: a new password requires the current one",
        module="contexts.users.service.passwords",
        replace='    sessions.authenticate(user.email, current_password, address, "staff")\n',
        by="",
        caught_by="tests/users/test_passwords.py::test_a_password_that_cannot_be_changed_is_explained",
    ),
    Mutant(
        name="users_change_disables_staff",
        what="staff who may only change accounts disable other staff",
        rule="Rights by effect: what takes rights needs the permission to grant them",
        module="contexts.users.service.staff",
        replace="    if user.permissions and not _is_held(held, GRANT_PERMISSION):\n        raise StaffProtected\n",
        by="",
        caught_by="tests/users/test_permissions.py::test_the_right_to_change_accounts_does_not_disable_or_enable_staff",
    ),
    Mutant(
        name="ended_staff_session_is_used",
        what="a copied cookie of the admin works after sign-out",
        rule="Sessions of staff: a session that was ended opens nothing",
        module="contexts.users.service.staff_sessions",
        replace=" AND NOT session.revoked\n",
        by="\n",
        caught_by="tests/users/test_staff_sessions.py::test_a_copied_cookie_opens_nothing_once_its_session_has_ended",
    ),
    Mutant(
        name="sign_out_leaves_the_session",
        what="a sign-out of the admin deletes the cookie, but ends no session",
        rule="Sessions of staff: a sign-out ends the session in the database",
        module="config.admin_site",
        replace="            users.end_staff_session(user_id=caller.id, session_id=caller.session_id)\n",
        by="            pass\n",
        caught_by="tests/users/test_staff_sessions.py::test_a_copied_cookie_opens_nothing_once_its_session_has_ended",
    ),
    Mutant(
        name="new_password_leaves_staff_sessions",
        what="a new password ends the sessions of the API, but not those in the admin",
        rule="Sessions of staff: a new password ends every session",
        module="contexts.users.service.sessions",
        replace="    staff_sessions.revoke_all(user_id)\n",
        by="",
        caught_by="tests/users/test_staff_sessions.py::test_a_copied_cookie_opens_nothing_once_its_session_has_ended",
    ),
    Mutant(
        name="new_permissions_leave_staff_sessions",
        what="a session in the admin outlives a change of the permissions",
        rule="Sessions of staff: other permissions end the sessions",
        module="contexts.users.service.staff",
        replace="    staff_sessions.revoke_all(user.id)\n",
        by="",
        caught_by="tests/users/test_staff_sessions.py::test_a_copied_cookie_opens_nothing_once_its_session_has_ended",
    ),
    Mutant(
        name="staff_session_is_never_idle",
        what="an unused session in the admin lasts until its absolute limit",
        rule="Sessions of staff: a session ends when it is not used for long",
        module="contexts.users.service.staff_sessions",
        replace="session.used_at > now() - %(idle)s AND ",
        by="",
        caught_by="tests/users/test_staff_sessions.py::test_a_session_ends_when_it_is_not_used_for_long_and_each_request_prolongs_it",
    ),
    Mutant(
        name="staff_session_renews_itself",
        what="a session in the admin that is in use never ends",
        rule="Sessions of staff: a session has an absolute limit",
        module="contexts.users.service.staff_sessions",
        replace=" AND session.began_at > now() - %(lifetime)s\n",
        by="\n",
        caught_by="tests/users/test_staff_sessions.py::test_a_session_that_is_in_use_ends_at_its_absolute_limit",
    ),
    Mutant(
        name="staff_session_of_former_rights",
        what="a sign-in whose permissions were read just before they changed starts a session that is never revoked",
        rule="Sessions of staff: a change ends sessions that begin meanwhile, too",
        module="contexts.users.service.staff_sessions",
        replace=" AND permissions = %(permissions)s::varchar[] FOR SHARE",
        by=" FOR SHARE",
        caught_by="tests/users/test_staff_sessions.py::test_a_sign_in_that_began_before_the_permissions_changed_starts_no_session",
    ),
    Mutant(
        name="staff_session_ended_by_another",
        what="staff end the sessions of other staff by their id",
        rule="Sessions of staff: a session belongs to one account",
        module="contexts.users.service.staff_sessions",
        replace='    with transaction("users"):\n        execute("users", _END_SESSION_SQL, [session_id, user_id])\n',
        by='    with transaction("users"):\n        execute("users", _END_SESSION_SQL.replace(" AND user_id = %s", ""), [session_id])\n',
        fails_with="contexts.users.interface.SignInFailed",
        caught_by="tests/users/test_staff_sessions.py::test_a_session_belongs_to_one_account",
    ),
    Mutant(
        name="money_moves_by_a_former_right",
        what="a disabled clerk refunds until the access token expires",
        rule="Sessions of staff: what moves money asks for the present permissions",
        module="shop.http.rest",
        replace="        if self.recheck and not ",
        by="        if not self.recheck and not ",
        caught_by="tests/users/test_staff_sessions.py::test_a_token_that_is_still_valid_moves_no_money_once_its_owner_may_not",
    ),
    Mutant(
        name="money_moves_in_an_ended_session",
        what="a refund succeeds after the sign-out of the session",
        rule="Sessions of staff: what moves money asks whether the session has ended",
        module="contexts.users.service.sessions",
        replace="user_id = account.id AND NOT revoked))",
        by="user_id = account.id))",
        caught_by="tests/users/test_staff_sessions.py::test_a_token_that_is_still_valid_moves_no_money_once_its_owner_may_not",
    ),
)
