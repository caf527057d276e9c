"""Texts that look like HTML, scripts, templates or patterns are texts in the admin."""

import uuid

import pytest

from tests.factories import create_sku
from tests.shopper import ADDRESS, InProcessShopper
from tests.staff_accounts import sign_in_to_admin
from tests.users.accounts import register_person

HOSTILE = {
    "a script": "<script>alert(1)</script>",
    "an attribute": '" onmouseover="alert(1)" x="',
    "a template": "{{ settings.SECRET_KEY }}{% debug %}",
    "a format": "{0.__class__} %(password)s %s",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_name_is_a_text_in_every_page_of_the_admin(text):
    person, staff = register_person(full_name=text), sign_in_to_admin("*")
    order = InProcessShopper().order(create_sku(1), shipping_address=ADDRESS | {"name": text}).body
    shown = text.replace('"', "&quot;").replace("<", "&lt;").replace(">", "&gt;")
    pages = {
        f"/admin/users/user/{person.id}/change/": shown,
        "/admin/users/user/": shown,
        f"/admin/orders/order/{order['id']}/change/": shown,
        f"/admin/orders/order/?q={order['number']}": "",
    }
    for path, expected in pages.items():
        page = staff.get(path, {"q": person.email} if path.endswith("user/") else {}).content.decode()
        assert expected in page, path
        assert "<script>alert" not in page and '" onmouseover="alert' not in page, path
    assert InProcessShopper().get_order(order)["shipping_address"]["name"] == text.strip()


def test_the_wildcards_of_a_search_are_letters():
    tag, staff = uuid.uuid4().hex, sign_in_to_admin("users.view")
    people = [register_person(full_name=f"{tag}-{end}") for end in ("%_1", "xx1")]
    pages = [staff.get("/admin/users/user/", {"q": f"{tag}-{part}"}).content.decode() for part in ("%_", "xx")]
    assert [[str(person.id) in page for person in people] for page in pages] == [[True, False], [False, True]]
