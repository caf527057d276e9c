"""Staff manage accounts and permissions only as far as their own permissions go. Unknown permissions are refused."""

import re
import uuid

import pytest
from django.conf import settings
from django.core.management import CommandError

from contexts.users.service import staff
from shop.contexts import list_permissions
from shop.db.database import execute, fetch_rows
from shop.errors import Forbidden
from shop.http.tokens import Caller
from shop.permissions import ALL_PERMISSIONS
from tests.admin_forms import open_form, send_form
from tests.concurrency import repeat_concurrently
from tests.users.accounts import PASSWORD, Person, refresh, register_person, sign_in, unique_email
from tests.users.accounts import issue_tokens as pair_of
from tests.users.test_staff import (
    LIST,
    audit_entries,
    can_open_admin,
    create_staff,
    permissions_of,
    sign_in_to_admin,
    staff_member,
)


def as_actor(person: Person, *token_permissions: str) -> Caller:
    """Return the person as an actor with a token of these permissions, by default all."""
    return Caller(person.id, person.email, frozenset(token_permissions or {ALL_PERMISSIONS}))


def is_active(person: Person) -> bool:
    return fetch_rows("users", "SELECT is_active FROM users_user WHERE id = %s", [person.id])[0][0]


def leave_only_superusers(*people: Person) -> None:
    """Take all permissions from the superusers of other tests."""
    sql = "UPDATE users_user SET permissions = '{}' WHERE '*' = ANY(permissions) AND id <> ALL(%s)"
    execute("users", sql, [[person.id for person in people]])


def set_permissions_in_admin(actor: Person, target: Person, permissions: str) -> str:
    client, path = sign_in_to_admin(actor), f"{LIST}{target.id}/change/"
    return send_form(client, path, open_form(client, path), permissions=permissions)


def run_action(actor: Person, action: str, target: Person) -> str:
    client = sign_in_to_admin(actor)
    client.post(LIST, {"action": action, "_selected_action": [str(target.id)]})
    return client.get(LIST).content.decode()


def test_staff_cannot_disable_or_enable_an_account_that_may_do_more():
    clerk, superuser, other = staff_member("users.change"), staff_member(), staff_member("orders.view")
    for target, lacking in ((superuser, "*"), (other, "orders.view")):
        assert f"a permission that you do not have: {lacking}" in run_action(clerk, "disable", target)
        assert is_active(target)
        with pytest.raises(staff.AccountHasMorePermissions):
            staff.disable(target.id, actor=as_actor(clerk))
    staff.disable(other.id, actor=staff.as_operator("test"))
    assert "a permission that you do not have" in run_action(clerk, "enable", other)
    assert not is_active(other)
    assert [action for _, action, _ in audit_entries(superuser)] == ["appoint"]


def test_staff_disable_accounts_that_may_do_as_much_or_less():
    manager, clerk = staff_member("users.change,users.permissions,orders.view"), staff_member("orders.view")
    run_action(manager, "disable", clerk)
    assert not is_active(clerk)
    assert audit_entries(clerk)[-1] == (manager.email, "disable", {})


def test_the_right_to_change_accounts_does_not_disable_or_enable_staff():
    clerk, peer = staff_member("users.change"), staff_member("users.change")
    assert "belongs to staff" in run_action(clerk, "disable", peer)
    assert is_active(peer)
    staff.disable(peer.id, actor=staff.as_operator("test"))
    assert "belongs to staff" in run_action(clerk, "enable", peer)
    assert not is_active(peer)
    assert [action for _, action, _ in audit_entries(peer)] == ["appoint", "disable"]


def test_staff_grant_and_take_only_permissions_that_they_have():
    manager = staff_member("users.change,users.permissions,orders.view")
    person, superuser = register_person(), staff_member("*,orders.view")
    assert "because you do not have it" in set_permissions_in_admin(manager, person, "orders.view,payments.refund")
    assert "because you do not have it" in set_permissions_in_admin(manager, person, "*")
    assert "because you do not have it" in set_permissions_in_admin(manager, manager, "*")
    assert "because you do not have it" in set_permissions_in_admin(manager, superuser, "")
    assert permissions_of(person) == []
    assert permissions_of(superuser) == ["*", "orders.view"]
    set_permissions_in_admin(manager, person, "orders.view")
    assert permissions_of(person) == ["orders.view"]
    set_permissions_in_admin(manager, person, "")
    assert permissions_of(person) == []
    assert [action for _, action, _ in audit_entries(person)] == ["set password"] + ["set permissions"] * 2


def test_the_present_permissions_of_the_actor_count_not_those_of_the_token():
    demoted, disabled, person = staff_member(), staff_member(), register_person()
    staff.set_permissions(demoted.id, permissions=["users.view"], actor=staff.as_operator("test"))
    staff.disable(disabled.id, actor=staff.as_operator("test"))
    for actor in (demoted, disabled, Person(id=uuid.uuid4(), email="")):
        for change in (
            lambda actor=actor: staff.set_permissions(person.id, permissions=["*"], actor=as_actor(actor)),
            lambda actor=actor: staff.disable(person.id, actor=as_actor(actor)),
            lambda actor=actor: staff.enable(person.id, actor=as_actor(actor)),
        ):
            with pytest.raises(Forbidden):
                change()
    assert (permissions_of(person), is_active(person)) == ([], True)


def test_a_misspelt_permission_is_refused_with_the_known_ones():
    person, manager = register_person(), staff_member()
    page = set_permissions_in_admin(manager, person, "orders.veiw")
    assert "There is no permission orders.veiw" in page
    for known in ("orders.view", "payments.refund", "users.permissions", "inventory.change"):
        assert known in page
    assert permissions_of(person) == []
    with pytest.raises(CommandError, match=r"There is no permission orders\.veiw"):
        create_staff(email=unique_email(), password=PASSWORD, permissions="orders.view,orders.veiw")


def test_a_misspelt_permission_that_is_stored_already_does_not_prevent_other_changes():
    person = register_person()
    execute("users", "UPDATE users_user SET permissions = '{orders.veiw}' WHERE id = %s", [person.id])
    staff.set_permissions(person.id, permissions=["orders.veiw", "orders.view"], actor=staff.as_operator("test"))
    staff.set_permissions(person.id, permissions=["orders.view"], actor=staff.as_operator("test"))
    assert permissions_of(person) == ["orders.view"]


def test_every_permission_that_the_code_checks_can_be_granted():
    checked = re.compile(r"""(?:has_perm|Staff)\(\s*["']([a-z_.]+)["']""")
    sources = [file for folder in ("contexts", "config", "ops") for file in (settings.BASE_DIR / folder).rglob("*.py")]
    found = {permission for file in sources for permission in checked.findall(file.read_text())}
    assert {"payments.view", "payments.refund", "inventory.change"} <= found <= {*list_permissions()}


def test_the_last_superuser_can_neither_be_disabled_nor_demoted():
    superuser = staff_member()
    leave_only_superusers(superuser)
    assert "the last active account with all permissions" in run_action(superuser, "disable", superuser)
    assert "the last active account with all permissions" in set_permissions_in_admin(
        superuser, superuser, "users.view"
    )
    with pytest.raises(CommandError, match="the last active account"):
        create_staff(email=superuser.email, permissions="users.view", existing=True)
    assert (is_active(superuser), permissions_of(superuser)) == (True, ["*"])
    successor = staff_member()
    set_permissions_in_admin(successor, superuser, "users.view")
    assert permissions_of(superuser) == ["users.view"]


def test_a_disabled_superuser_does_not_count_as_another():
    superuser, disabled = staff_member(), staff_member()
    leave_only_superusers(superuser, disabled)
    staff.disable(disabled.id, actor=staff.as_operator("test"))
    with pytest.raises(staff.LastSuperuser):
        staff.disable(superuser.id, actor=staff.as_operator("test"))


def test_one_superuser_remains_when_several_disable_each_other_at_once():
    for _ in range(5):
        people = [staff_member() for _ in range(4)]
        leave_only_superusers(*people)

        def disable_next(index: int, people: list[Person] = people) -> str:
            try:
                staff.disable(people[(index + 1) % 4].id, actor=staff.as_operator("test"))
            except staff.LastSuperuser as error:
                return error.code
            return "disabled"

        outcomes = repeat_concurrently(4, disable_next)
        assert sorted(outcomes) == ["disabled"] * 3 + ["users.last_superuser"]
        assert sum(map(is_active, people)) == 1


def test_the_command_grants_an_existing_account_only_what_it_names():
    customer, clerk = register_person(), staff_member("orders.view")
    with pytest.raises(CommandError, match="Nothing changed"):
        create_staff(email=customer.email, password="another walk in there", existing=True)
    assert permissions_of(customer) == []
    assert sign_in(customer).status_code == 200
    assert "Permissions: orders.view" in create_staff(email=clerk.email, existing=True)
    assert permissions_of(clerk) == ["orders.view"]
    output = create_staff(email=clerk.email, permissions="orders.view,orders.change", existing=True)
    assert "Permissions: orders.change, orders.view" in output
    assert "Permissions before: orders.view" in output
    detail = {"before": ["orders.view"], "after": ["orders.change", "orders.view"]}
    assert audit_entries(clerk)[-1] == ("create_staff", "set permissions", detail)


def test_the_command_does_not_say_that_a_disabled_account_can_sign_in():
    clerk = staff_member("users.view")
    _, token = pair_of(clerk)
    staff.disable(clerk.id, actor=staff.as_operator("test"))
    for options in ({}, {"password": "another walk in there"}, {"permissions": "*"}):
        with pytest.raises(CommandError, match="disabled and cannot sign in"):
            create_staff(email=clerk.email, existing=True, **options)
    assert (is_active(clerk), permissions_of(clerk)) == (False, ["users.view"])
    assert "can sign in" in create_staff(email=clerk.email, password=PASSWORD, enable=True, existing=True)
    assert can_open_admin(sign_in_to_admin(clerk))
    assert refresh(token).status_code == 401
    assert [action for _, action, _ in audit_entries(clerk)] == ["appoint", "disable", "enable", "set password"]


def test_the_command_needs_a_permission_to_grant():
    with pytest.raises(CommandError, match="empty"):
        create_staff(email=unique_email(), password=PASSWORD, permissions=" ,")
