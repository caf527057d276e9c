"""Sessions and sign-in attempts after a change of SECRET_KEY, with the former key in SECRET_KEY_FALLBACKS."""

import pytest

from tests.secret_rotation import rotate_secret
from tests.users.accounts import issue_tokens, problem_of, refresh, register_person, sign_in, unique_ip_address
from tests.users.test_sign_in_throttle import FREE, TOO_MANY, fail
from tests.users.test_staff import can_open_admin, sign_in_to_admin, staff_member

pytestmark = pytest.mark.usefixtures("verified")


def test_a_refresh_repeated_after_the_rotation_gets_the_same_successor(settings):
    _, token = issue_tokens(register_person())
    successor = refresh(token).json()["refresh"]
    rotate_secret(settings)
    assert refresh(token).json().get("refresh") == successor
    assert refresh(successor).status_code == 200


def test_wrong_passwords_before_the_rotation_still_delay(settings):
    person, address = register_person(), unique_ip_address()
    fail(person, FREE, address)
    rotate_secret(settings)
    assert problem_of(sign_in(person, REMOTE_ADDR=address)) == TOO_MANY


def test_wrong_passwords_are_counted_on_after_the_rotation(settings):
    person, address = register_person(), unique_ip_address()
    fail(person, FREE - 1, address)
    rotate_secret(settings)
    fail(person, 1, address)
    assert problem_of(sign_in(person, REMOTE_ADDR=address)) == TOO_MANY


def test_staff_stay_signed_in_to_the_admin(settings):
    client = sign_in_to_admin(staff_member())
    rotate_secret(settings)
    assert can_open_admin(client)
    settings.SECRET_KEY_FALLBACKS = []
    assert not can_open_admin(client)
