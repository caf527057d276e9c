"""Hostile inputs for the admin: its pages, what each of them reads, and values that no browser sends by itself."""

import random
from dataclasses import dataclass
from urllib.parse import quote

from django.contrib import admin
from django.http import HttpResponse

from shop.admin.context_admin import ContextAdmin
from shop.db.database import fetch_rows
from shop.ids import uuid7
from tests.http_client import Client

Pairs = tuple[tuple[str, str], ...]

# Texts on which databases, regular expressions, dates, numbers, ids, paths, headers and pages fail.
HOSTILE = [
    "\0", "a\0b", "(", "[a-", "a{99999}", "*", "\\", "%", "_", "'", '"', ";--", "\r\nX: y", "\t", " ", "", "x" * 300,
    "x" * 70_000, "-1", "0", "1.5", "9" * 30, "1e999", "NaN", "Infinity", "-0", "٣", "1_000", "0x10", "true", "None", "null",
    "1", "9999", "12", "0000-00-00", "2024-02-30", "99999-01-01", "2024-01-01T25:00", "9999-12-31 23:59:59+14:00",
    "0001-01-01 00:00:00-14:00",
    "00000000-0000-0000-0000-000000000000", "not-an-id", "{00000000}", "urn:uuid:1", "../../etc/passwd", "//evil.example",
    "[]", "{}", '{"a": 1}', "1,2", "a,b,c", "-", "__", "_5C", "_0", "<script>", "{{ 7*7 }}", "%s%d", "🍊", "\u202e", "ß" * 40,
    "javascript:x", "\ud800",
]  # fmt: skip
IN_PATHS = [value for value in HOSTILE if 0 < len(value) < 1000]
SITE_PAGES = (
    "",
    "login/",
    "password_change/",
    "password_change/done/",
    "jsi18n/",
    "inventory/autocomplete/",
    "events/",
)
SITE_QUERY = ("q", "o", "p", "all", "e", "_popup", "_to_field", "_facets", "_changelist_filters", "next", "nonsense")
AUTOCOMPLETE_QUERY = ("term", "page", "app_label", "model_name", "field_name")
DECLARED_AUTOCOMPLETE = {"app_label": "inventory", "model_name": "variant", "field_name": "product"}


@dataclass(frozen=True)
class AdminRequest:
    """A request of the admin. A lone surrogate in it stands for bytes that are no UTF-8."""

    method: str
    path: str
    query: Pairs = ()
    data: Pairs = ()

    def send(self, client: Client) -> HttpResponse:
        """Send the request as a browser sends a link or a form."""
        address = self.path + (f"?{_encode(self.query)}" if self.query else "")
        if self.method == "GET":
            return client.generic("GET", address)
        return client.generic("POST", address, _encode(self.data), "application/x-www-form-urlencoded")

    def __str__(self) -> str:
        shown = [f"{name[:40]}={value[:60]!r}" for name, value in (*self.query, *self.data)]
        return f"{self.method} {self.path[:200]} {' '.join(shown)}"


def _encode(pairs: Pairs) -> str:
    return "&".join(f"{encode_text(name)}={encode_text(value)}" for name, value in pairs)


def encode_text(text: str) -> str:
    """Encode a text for a path or a query."""
    return quote(text.encode("utf-8", "surrogatepass"), safe="")


def list_tables() -> list[ContextAdmin]:
    """Return every table of the admin."""
    return [one for one in admin.site._registry.values() if isinstance(one, ContextAdmin)]


def build_list_path(table: ContextAdmin) -> str:
    """Return the path of the list of a table."""
    return f"/admin/{table.opts.app_label}/{table.opts.model_name}/"


def find_key(table: ContextAdmin) -> str:
    """Return the key of a row of a table, or one that no row has."""
    opts = table.opts
    rows = fetch_rows(opts.app_label, f"SELECT {opts.pk.column} FROM {opts.db_table} ORDER BY 1 DESC LIMIT 1")
    return str(rows[0][0]) if rows else str(uuid7())


def list_query_names(table: ContextAdmin) -> list[str]:
    """Return the names of the parameters that the list of a table reads."""
    return [*SITE_QUERY, *sorted(table.list_declared_lookups())]


def list_form_fields(table: ContextAdmin) -> dict[str, str]:
    """Return the fields of the form of a table with usual values."""
    fields = {name: "1" for name in (*table.editable, *table.form.base_fields)}
    return fields | {
        "form_token": str(uuid7()),
        "form_version": "0" * 32,
        "_save": "Save",
        "_continue": "",
        "_addanother": "",
    }


def list_action_fields(table: ContextAdmin, action: str) -> dict[str, str]:
    """Return the fields that an action on the rows of a table reads, with usual values."""
    key = find_key(table)
    return {"action": action, "_selected_action": key, "reason": "because", "index": "0", "select_across": "0"}


def list_actions(table: ContextAdmin) -> list[str]:
    """Return the names of the actions of a table, and one that it does not have."""
    return [*(str(getattr(action, "__name__", action)) for action in table.actions or ()), "nonsense"]


class Attacker:
    """Draw requests with hostile values. The same seed draws the same requests, except for ids."""

    def __init__(self, seed: int) -> None:
        self.chooser = random.Random(seed)
        self.kinds = (
            self.draw_list,
            self.draw_site_page,
            self.draw_key,
            self.draw_action,
            self.draw_form,
            self.draw_site_form,
        )

    def draw(self) -> AdminRequest:
        """Draw a request of any kind."""
        return self.chooser.choice(self.kinds)()

    def draw_list(self) -> AdminRequest:
        """Draw the list of a table, filtered, searched, sorted or paged."""
        table = self._draw_table()
        return AdminRequest("GET", build_list_path(table), self._draw_query(list_query_names(table)))

    def draw_site_page(self) -> AdminRequest:
        """Draw a page that belongs to no table."""
        page = self.chooser.choice(SITE_PAGES)
        if page != "inventory/autocomplete/":
            return AdminRequest("GET", f"/admin/{page}", self._draw_query(SITE_QUERY))
        query = dict(self._draw_query(AUTOCOMPLETE_QUERY))
        known = DECLARED_AUTOCOMPLETE if self.chooser.random() < 0.7 else {}
        return AdminRequest("GET", f"/admin/{page}", tuple((query | known).items()))

    def draw_key(self) -> AdminRequest:
        """Draw a page of an object, or of a batch job, that cannot exist, or parameters of one that does."""
        table, value = self._draw_table(), encode_text(self.chooser.choice(IN_PATHS))
        listed = build_list_path(table)
        known = f"{listed}{encode_text(find_key(table))}/{self.chooser.choice(('change/', 'history/', 'delete/', ''))}"
        unknown = [f"{listed}{value}/{page}" for page in ("change/", "history/", "delete/", "")]
        others = [
            f"{listed}bulk/{value}/",
            f"/admin/r/{value}/{value}/",
            f"/admin/{value}/",
            f"/admin/{table.context}/{value}/",
        ]
        if self.chooser.random() < 0.3:
            return AdminRequest("GET", known, self._draw_query(SITE_QUERY))
        return AdminRequest("GET", self.chooser.choice([*unknown, *others]))

    def draw_action(self) -> AdminRequest:
        """Draw an action on the rows of a table."""
        table = self._draw_table()
        fields = list_action_fields(table, self.chooser.choice(list_actions(table)))
        return AdminRequest("POST", build_list_path(table), data=self._spoil(fields))

    def draw_form(self) -> AdminRequest:
        """Draw the form of a new or an existing object."""
        table = self._draw_table()
        page = self.chooser.choice(("add/", f"{encode_text(find_key(table))}/change/"))
        return AdminRequest("POST", build_list_path(table) + page, data=self._spoil(list_form_fields(table)))

    def draw_site_form(self) -> AdminRequest:
        """Draw the form of parked events, of a sign-in, or of a new password."""
        what = self.chooser.choice(("replay", "discard"))
        forms = {
            "events/": {"context": "orders", "row": "1", "what": what, "reason": "because"},
            "login/": {"username": "clerk@staff.example", "password": "wrong", "next": "/admin/"},
            "password_change/": {"old_password": "wrong", "new_password1": "a walk", "new_password2": "a walk"},
        }  # fmt: skip
        page = self.chooser.choice(sorted(forms))
        return AdminRequest("POST", f"/admin/{page}", data=self._spoil(forms[page]))

    def _draw_table(self) -> ContextAdmin:
        return self.chooser.choice(list_tables())

    def _draw_query(self, names: list[str] | tuple[str, ...]) -> Pairs:
        chosen = self.chooser.sample(names, self.chooser.randint(1, 3))
        return tuple((name, self.chooser.choice(HOSTILE)) for name in chosen)

    def _spoil(self, fields: dict[str, str]) -> Pairs:
        """Replace at least one value by a hostile one."""
        spoilt = self.chooser.sample(sorted(fields), self.chooser.randint(1, min(3, len(fields))))
        return tuple(
            (name, self.chooser.choice(HOSTILE) if name in spoilt else value) for name, value in fields.items()
        )
