"""The icon of the shop: browsers ask for it on every page."""

import pytest

from tests.http_client import Client
from tests.staff_accounts import sign_in_to_admin


def test_the_icon_is_served_and_kept_by_browsers():
    response = Client().get("/favicon.ico")
    assert response.status_code == 200
    assert response.headers["Content-Type"] in ("image/x-icon", "image/vnd.microsoft.icon")
    assert "max-age=" in response.headers["Cache-Control"] and "public" in response.headers["Cache-Control"]
    assert b"".join(response)[:4] == b"\0\0\1\0"  # the signature of an ICO file


@pytest.mark.parametrize("page", ["/admin/login/", "/admin/", "/admin/events/", "/api/docs/", "/api/docs/errors"])
def test_every_page_links_to_the_icon(page):
    html = sign_in_to_admin("*").get(page).content.decode()
    assert html.count('<link rel="icon" href="/favicon.ico">') == 1
