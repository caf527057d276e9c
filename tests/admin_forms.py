"""Forms of the admin, read and sent as a browser does."""

from html.parser import HTMLParser
from typing import Any

from django.http import HttpResponse

from shop.admin.submissions import TOKEN_FIELD, VERSION_FIELD
from tests.http_client import Client


class _FormParser(HTMLParser):
    """Collect the values of the inputs, text areas and selections in the forms of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.forms: list[dict[str, str]] = []
        self.name = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = {key: value or "" for key, value in attributes}
        if tag == "form":
            self.forms.append({})
        if not self.forms:
            return
        name, kind = given.get("name", ""), given.get("type", "text")
        if tag == "input" and name and kind not in ("submit", "checkbox", "radio"):
            self.forms[-1][name] = given.get("value", "")
        elif tag == "input" and name and "checked" in given:
            self.forms[-1][name] = given.get("value", "on")
        elif tag in ("textarea", "select"):
            self.name = name
            self.forms[-1][name] = ""
        elif tag == "option" and "selected" in given:
            self.forms[-1][self.name] = given.get("value", "")

    def handle_data(self, data: str) -> None:
        if self.name and self.lasttag == "textarea":
            self.forms[-1][self.name] += data

    def handle_endtag(self, tag: str) -> None:
        if tag in ("textarea", "select"):
            self.name = ""


def read_form(response: HttpResponse) -> dict[str, str]:
    """Return the values of the largest form of a page, as a browser would send them unchanged."""
    parser = _FormParser()
    parser.feed(response.content.decode())
    return max(parser.forms, key=len)


def open_form(client: Client, path: str) -> dict[str, str]:
    """Open a page and return the values of its form."""
    response = client.get(path)
    assert response.status_code == 200, response.content
    return read_form(response)


def open_submission(client: Client, path: str) -> dict[str, str]:
    """Open a page and return only the token and the version of its form, for a test that enters every field itself."""
    form = open_form(client, path)
    return {name: form[name] for name in (TOKEN_FIELD, VERSION_FIELD) if name in form}


def send_form(client: Client, path: str, form: dict[str, str], **changes: Any) -> str:
    """Send a form with changed values, and return the page that follows."""
    response = client.post(path, {**form, **changes}, follow=True)
    assert response.status_code == 200, response.content
    return response.content.decode()


def run_action(client: Client, path: str, action: str, *keys: object) -> HttpResponse:
    """Select rows of a list and run an action on them. Returns the page that follows, which may ask for confirmation."""
    return client.post(path, {"action": action, "_selected_action": [str(key) for key in keys]}, follow=True)


def confirm(client: Client, page: HttpResponse) -> str:
    """Confirm an action on the page that asks for it, and return the page that follows."""
    path = page.redirect_chain[-1][0]
    assert "I’m sure" in page.content.decode()
    return client.post(path, {"post": "yes"}, follow=True).content.decode()
