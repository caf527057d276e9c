"""Texts of people, wherever they are typed: no card numbers, and no characters that change how a text is read.

The kernel checks every text of every body and every field of the admin, so that no endpoint can forget to. The texts that it
does not check are listed here.
"""

import re
import uuid
from html import unescape
from typing import Any

import pytest
from msgspec import inspect

from shop.admin.submissions import TOKEN_FIELD, VERSION_FIELD
from shop.card_numbers import has_card_number
from shop.db.database import fetch_rows
from tests.admin_forms import open_form, read_form
from tests.architecture.test_sizes import request_types
from tests.factories import create_product, create_sku
from tests.http_client import Client
from tests.shopper import ADDRESS, PASSWORD, InProcessShopper
from tests.staff_accounts import sign_access_token, sign_in_to_admin
from tests.users.accounts import unique_email

pytestmark = pytest.mark.usefixtures("verified")

CARD = "4111 1111 1111 1111"
BIDI = ["\u202a", "\u202b", "\u202d", "\u202e", "\u2066", "\u2067", "\u2068", "\u200e", "\u200f", "\u061c"]
CONTROLS = ["\x01", "\x07", "\x1b", "\x7f", "\x85", "\n", "\r", "\t", "\u2028", "\ufeff", "\u200b", "\U000e0041"]

# Texts with a rule of their own. Everything else is one line without invisible characters and card numbers.
CONTENTS = {
    "Registration.email": "email",
    "Registration.password": "secret",
    "Credentials.email": "email",
    "PlaceOrder.email": "email",
    "OrderLookup.email": "email",
    "Credentials.password": "secret",
    "Refresh.refresh": "secret",
    "AddressRequest.phone": "phone",
    "Item.sku": "code",
    "Receipt.sku": "code",
    "Adjustment.sku": "code",
    "ProductPatch.description": "lines",
}


def find_contents(type_: Any, name: str, found: dict[str, str], content: str = "") -> None:
    """Collect the texts of a type that declare a content."""
    if isinstance(type_, inspect.Metadata):
        find_contents(type_.type, name, found, (type_.extra or {}).get("content", content))
    elif isinstance(type_, inspect.StructType):
        for field in type_.fields:
            find_contents(field.type, f"{type_.cls.__name__}.{field.encode_name}", found)
    elif isinstance(type_, inspect.UnionType):
        for choice in type_.types:
            find_contents(choice, name, found, content)
    elif isinstance(type_, inspect.ListType):
        find_contents(type_.item_type, name, found, content)
    elif isinstance(type_, inspect.StrType) and content:
        found[name] = content


def test_every_text_that_is_not_one_line_is_listed():
    found: dict[str, str] = {}
    for type_ in request_types():
        find_contents(inspect.type_info(type_), "", found)
    assert found == CONTENTS


# Each function below prepares what requests with a text need, once for a test, and returns a function that sends one.


def as_guest(build):
    def prepare():
        sku = create_sku(1_000)
        return lambda text: place(sku, **build(text))

    return prepare


def place(sku, **changes):
    order = {
        "items": [{"sku": sku, "quantity": 1}],
        "email": unique_email(),
        "shipping_address": dict(ADDRESS),
        "payment_method": {"provider": "sandbox", "token": "tok_ok"},
    }
    return InProcessShopper().post("orders", order | changes, Idempotency_Key=uuid.uuid4().hex)


def place_with(member, part):
    return as_guest(lambda text: {member: ADDRESS | {part: text}})


def register_with(build):
    account = {"email": "", "password": PASSWORD, "full_name": "Ada"}
    return lambda: lambda text: InProcessShopper().post("auth/register", account | build(text))


def as_customer(method, path, build):
    def prepare():
        customer = InProcessShopper()
        customer.register()
        return lambda text: customer.send(method, path, build(text))

    return prepare


def as_staff(method, find_path, build):
    """`find_path` gets the SKU of a new product, `build` a text and this SKU."""

    def prepare():
        clerk, [sku] = InProcessShopper(), create_product([100])
        clerk.token = sign_access_token("*")
        path = find_path(sku)
        return lambda text: clerk.send(method, path, build(text, sku), Idempotency_Key=uuid.uuid4().hex)

    return prepare


def find_product(sku):
    sql = "SELECT slug FROM inventory_product p JOIN inventory_variant v ON v.product_id = p.id WHERE sku = %s"
    return f"staff/products/{fetch_rows('inventory', sql, [sku])[0][0]}"


def pay(sku):
    return f"payments/{InProcessShopper().buy(sku)['payment']['id']}/refunds"


LINES = {
    "name of an account": register_with(lambda text: {"email": unique_email(), "full_name": text}),
    "name of a profile": as_customer("PATCH", "users/me", lambda text: {"full_name": text}),
    "recipient": place_with("shipping_address", "name"),
    "company": place_with("shipping_address", "company"),
    "street": place_with("shipping_address", "line1"),
    "second line": place_with("shipping_address", "line2"),
    "city": place_with("shipping_address", "city"),
    "recipient of the invoice": place_with("billing_address", "name"),
    "name of a product": as_staff("PATCH", find_product, lambda text, sku: {"name": text}),
    "name of a variant": as_staff("PATCH", lambda sku: f"staff/variants/{sku}", lambda text, sku: {"name": text}),
    "reference of a receipt": as_staff(
        "POST", lambda sku: "staff/stock/receipts", lambda text, sku: {"sku": sku, "quantity": 1, "reference": text}
    ),
    "reason of an adjustment": as_staff(
        "POST", lambda sku: "staff/stock/adjustments", lambda text, sku: {"sku": sku, "quantity": 1, "reason": text}
    ),
    "reason of a refund": as_staff(
        "POST", pay, lambda text, sku: {"reason": text, "amount": {"amount": 1, "currency": "EUR"}}
    ),
}
OTHERS = {
    "description": as_staff("PATCH", find_product, lambda text, sku: {"description": text}),
    "phone": place_with("shipping_address", "phone"),
    "postal code": as_guest(lambda text: {"shipping_address": ADDRESS | {"country": "AO", "postal_code": text}}),
    "payment token": as_guest(lambda text: {"payment_method": {"provider": "sandbox", "token": text.replace(" ", "")}}),
    "address of an order": as_guest(lambda text: {"email": f"{text.replace(' ', '')}@example.com"}),
    "address of an account": register_with(lambda text: {"email": f"{text.replace(' ', '')}@example.com"}),
}


@pytest.fixture
def send(request):
    return request.param()


@pytest.mark.parametrize("send", [*LINES.values(), *OTHERS.values()], ids=[*LINES, *OTHERS], indirect=True)
def test_a_card_number_is_refused_and_not_repeated(send):
    answer = send(CARD)
    assert (answer.status, answer.body["code"]) == (422, "shop.card_number_refused")
    assert [fault["code"] for fault in answer.body["errors"]] == ["card_number"]
    assert answer.body["errors"][0]["pointer"]
    shown = answer.content.decode().replace(" ", "")
    assert "1111111" not in shown
    assert send("4111 1111 1111 1112").body.get("code") != "shop.card_number_refused", "the check digit is wrong"


@pytest.mark.parametrize("send", LINES.values(), ids=LINES, indirect=True)
def test_characters_that_change_how_a_name_is_read_are_refused(send):
    for character in (*BIDI, *CONTROLS):
        answer = send(f"Ada{character}Byron")
        assert (answer.status, answer.body["code"]) == (400, "shop.bad_body"), f"U+{ord(character):04X}"
        assert {fault["code"] for fault in answer.body["errors"]} <= {"invalid_character", "invalid_format"}


@pytest.mark.parametrize("send", LINES.values(), ids=LINES, indirect=True)
def test_names_in_every_script_are_accepted(send):
    for name in ("Jürgen Groß", "山田 太郎", "علی\u200cرضا", "O’Neil-Smith 2nd", "Апельсин №5"):
        assert send(name).status in (200, 201), name


def test_a_description_has_lines_but_no_marks_of_direction():
    send = OTHERS["description"]()
    assert send("A mug.\n\n\t- 300 ml\r\n- EAN 4006381333931").status == 200
    assert send("A mug \u202e").status == 400


def test_a_phone_number_of_thirteen_digits_is_accepted():
    assert has_card_number("4915123456787"), "it would be a card number elsewhere"
    assert OTHERS["phone"]()("4915123456787").status == 201


def test_an_idempotency_key_of_a_refused_text_stays_unused():
    shopper, key = InProcessShopper(), uuid.uuid4().hex
    sku = create_sku(5)
    refused = shopper.order(sku, key=key, shipping_address=ADDRESS | {"line2": CARD})
    assert refused.status == 422
    assert shopper.order(sku, key=key).status == 201


def test_a_password_may_look_like_a_card_number():
    account = {"email": unique_email(), "password": f"{CARD} zebra kiosk", "full_name": "Ada"}
    assert InProcessShopper().post("auth/register", account).status == 201


CARD_REFUSED = "A text contains the number of a payment card. It was not stored."


def describe_invisible(field):
    return f"The field “{field}” has a control character or an invisible character. Remove it, and send the page again."


def find_field_errors(page, field):
    """Return the texts of the list of errors that a page shows at a field."""
    assert page.status_code == 200
    lists = re.findall(rf'<ul class="errorlist" id="id_{field}_error">(.*?)</ul>', page.content.decode(), re.DOTALL)
    return [unescape(text) for found in lists for text in re.findall("<li>(.*?)</li>", found, re.DOTALL)]


@pytest.fixture
def staff():
    return sign_in_to_admin("*")


def find_ids():
    """Return the paths of a category, a product and a variant in the admin."""
    [sku] = create_product([3])
    sql = """SELECT c.id, p.id FROM inventory_variant v JOIN inventory_product p ON p.id = product_id
             JOIN inventory_category c ON c.slug = p.category WHERE sku = %s"""
    [(category, product)] = fetch_rows("inventory", sql, [sku])
    return [
        f"/admin/inventory/{path}/change/" for path in (f"category/{category}", f"product/{product}", f"variant/{sku}")
    ]


@pytest.mark.parametrize("path", range(3), ids=["category", "product", "variant"])
def test_the_admin_refuses_them_at_the_field_of_every_form(staff, path):
    path = find_ids()[path]
    form = open_form(staff, path)
    for text in (f"Mug {CARD}", *(f"Mug{character}" for character in (*BIDI, *CONTROLS))):
        page = staff.post(path, form | {"name": text})
        expected = CARD_REFUSED if CARD in text else describe_invisible("name")
        assert find_field_errors(page, "name") == [expected], ascii(text)
        assert "1111 1111" not in page.content.decode()
        assert read_form(page)["name"].startswith("Mug"), "what else was entered is still there"
    assert open_form(staff, path)["name"] == form["name"]


REFUSED_REASONS = [CARD, "a\u202eb", "a\nb"]


@pytest.mark.parametrize("text", REFUSED_REASONS, ids=ascii)
def test_the_admin_refuses_them_at_the_field_of_an_adjustment(staff, text):
    sku = create_sku(5)
    path = f"/admin/inventory/stock/{sku}/change/"
    page = staff.post(path, open_form(staff, path) | {"quantity": "1", "reason": text})
    assert len(find_field_errors(page, "reason")) == 1
    assert "1111 1111" not in page.content.decode()
    assert fetch_rows("inventory", "SELECT on_hand FROM inventory_stock WHERE sku = %s", [sku]) == [(5,)]


@pytest.mark.parametrize("text", REFUSED_REASONS, ids=ascii)
@pytest.mark.parametrize("path", ["/admin/notifications/message/", "/admin/payments/payment/", "/admin/events/"])
def test_the_admin_refuses_them_in_the_reason_of_an_action(staff, path, text):
    page = staff.post(path, {"action": "discard", "reason": text}, follow=True)
    assert page.status_code == 200
    shown = unescape(page.content.decode())
    assert any(words in shown for words in (CARD_REFUSED, describe_invisible("reason")))
    assert "1111 1111" not in shown


def test_a_refused_text_of_a_hidden_field_is_a_message(staff):
    path = find_ids()[0]
    form = open_form(staff, path)
    for name in (TOKEN_FIELD, VERSION_FIELD, "unknown"):
        page = staff.post(path, form | {"name": "Renamed", name: "a\u202eb"})
        assert page.status_code == 200 and describe_invisible(name) in unescape(page.content.decode())
    assert open_form(staff, path)["name"] == form["name"]


def test_a_refused_address_is_shown_at_the_field_of_the_sign_in():
    page = Client().post("/admin/login/", {"username": "ada\u202e@example.com", "password": PASSWORD})
    assert page.status_code == 200 and "Enter a valid email address." in page.content.decode()
    page = Client().post("/admin/login/", {"username": f"{CARD.replace(' ', '')}@example.com", "password": PASSWORD})
    assert page.status_code == 200 and CARD_REFUSED in page.content.decode()
    assert "1111" not in page.content.decode()


def test_a_search_for_what_no_text_has_is_answered_by_the_list(staff):
    for path in ("orders/order", "inventory/product", "payments/payment", "users/user"):
        for text in ("a\u202eb", "\x1b", CARD):
            assert staff.get(f"/admin/{path}/", {"q": text}).status_code == 200, path


def test_the_admin_accepts_lines_in_a_description_and_the_number_of_an_article_as_sku(staff):
    _, path, _ = find_ids()
    form = open_form(staff, path)
    page = staff.post(path, form | {"description": "A mug.\r\nEAN 4006381333931"}, follow=True)
    assert page.status_code == 200
    assert "EAN 4006381333931" in open_form(staff, path)["description"]
