"""Forms of accounts that were opened before another change: a revoked permission is not granted again."""

from tests.admin_forms import open_form, send_form
from tests.users.test_staff import permissions_of, sign_in_to_admin, staff_member


def test_a_stale_form_does_not_grant_a_revoked_permission_again():
    client, clerk = sign_in_to_admin(staff_member()), staff_member("orders.view,orders.change")
    path = f"/admin/users/user/{clerk.id}/change/"
    stale = open_form(client, path)
    send_form(client, path, open_form(client, path), permissions="orders.view")
    html = send_form(client, path, stale)
    assert "Nothing was saved" in html
    assert permissions_of(clerk) == ["orders.view"]
    send_form(client, path, open_form(client, path), permissions="orders.view,payments.view")
    assert permissions_of(clerk) == ["orders.view", "payments.view"]
