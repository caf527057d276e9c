"""Passwords that can be guessed are refused wherever a password is set: registration, the admin, commands."""

import contextlib
import io
import random
import string
import time

import pytest
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from hypothesis import example, given, settings, strategies

from contexts.users.models import User
from contexts.users.service import staff
from contexts.users.service.password_strength import EASY_TO_GUESS, GuessesValidator
from tests.users.accounts import PASSWORD, Person, problem_of, register, sign_in, unique_email
from tests.users.test_passwords import change_password, person_of, run
from tests.users.test_staff import can_open_admin, create_staff, sign_in_to_admin, staff_member

SHOP = [
    "satsuma123",
    "Satsuma2024!",
    "s@tsum@123",
    "SatsumaShop2024",
    "TheSatsumaShop1",
    "satsuma-shop-1",
    "amustas321",
]
COMMON = [
    "P@ssw0rd2024",
    "Password123!",
    "letmein12345",
    "iloveyou2024",
    "Summer2024!",
    "welcome2024!",
    "Pa$$w0rd2024!",
]
WALKS = [
    "qwertyuiop123", "1qaz2wsx3edc4rfv", "zaq12wsxCDE#", "1qaz!QAZ2wsx@WSX", "!@#$%^&*()_+", "QWERTYUIOP{}",
    "qwertzuiop12", "yxcvbnm,.-12", "qsdfghjklm12", "йцукенгшщзхъ",
]  # fmt: skip
PATTERNS = [
    "aaaaaaaaaaaaaaa",
    "abcdefghijklm",
    "1234567890ab",
    "hunter2hunter2",
    "19850312 1985",
    "ｐａｓｓｗｏｒｄ１２３",
    "пароль123456",
]
OWN = ["AnnKumquat1985", "kumquatann!!1", "ann.kumquat.24", "kumqu4t-ann-1", "tauqmuk1985", "groves.example1"]
STRONG = [
    "a walk in the orchard", "mandarins-are-orange-7", "Zürich Straße Brunnen", "тихий сад у реки",
    "夏の庭で猫が三匹眠っている", "kJ8#mQ2$vL4z", "a satsuma under purple clouds",
    "🍊 rolls down the 🏔 at noon", "e" * 33 + " walks past orchards",
]  # fmt: skip


def explain(password, **changes):
    """Register with a password, and return the detail of the error."""
    response = register(password=password, **changes)
    assert problem_of(response) == (400, "users.weak_password")
    [error] = response.json()["errors"]
    assert error["pointer"] == "/password"
    return error["detail"]


@pytest.mark.parametrize("password", [*SHOP, *COMMON, *WALKS, *PATTERNS])
def test_a_password_that_is_easy_to_guess_is_refused(password):
    assert EASY_TO_GUESS in explain(password)


@pytest.mark.parametrize("password", OWN)
def test_a_password_of_the_customers_own_data_is_refused(password):
    mail = f"ann.kumquat@{unique_email().partition('@')[0]}.groves.example"
    assert EASY_TO_GUESS in explain(password, email=mail, full_name="Ann Kumquat")


@pytest.mark.parametrize("password", STRONG)
def test_a_strong_password_signs_in_in_any_script(password):
    email = unique_email()
    assert register(email=email, password=password).status_code == 201
    assert sign_in(person_of(email), password).status_code == 200


def test_the_names_of_the_company_add_nothing_to_a_password(settings):
    assert register(password="Quittenhof-Streuobst-24").status_code == 201
    settings.PASSWORD_KNOWN_WORDS = ["Quittenhof", "Streuobst"]
    assert EASY_TO_GUESS in explain("Quittenhof-Streuobst-24")
    settings.PASSWORD_KNOWN_WORDS, settings.SITE_HOST = [], "streuobst.quittenhof.example"
    assert EASY_TO_GUESS in explain("Quittenhof-Streuobst-24")


def test_the_reason_is_given_in_plain_words():
    assert explain("P@ssw0rd2024") == f"{EASY_TO_GUESS} This is similar to a commonly used password."
    assert explain("satsuma-shop-1") == EASY_TO_GUESS


def test_a_password_at_the_limit_of_length_is_estimated_and_a_longer_one_refused():
    assert EASY_TO_GUESS in explain("satsuma123" * 25 + "abcdef")
    assert problem_of(register(password="x" * 257)) == (400, "shop.bad_body")


def test_staff_cannot_change_their_password_to_one_that_is_easy_to_guess():
    clerk = staff_member("orders.view")
    client = sign_in_to_admin(clerk)
    assert EASY_TO_GUESS in change_password(client, new="Satsuma-2024-Shop").content.decode()
    assert can_open_admin(sign_in_to_admin(clerk, PASSWORD))


def set_by_create_staff(email):
    create_staff(email=email, password="Satsuma-2024-Shop", permissions="orders.view")


def set_by_createsuperuser(email):
    run("createsuperuser", email=email, interactive=False)


def set_by_changepassword(email):
    staff.create(email=email, password=PASSWORD, permissions=["*"], actor=staff.as_operator("tests"))
    run("changepassword", email, interactive=False)


@pytest.mark.parametrize("command", [set_by_create_staff, set_by_createsuperuser, set_by_changepassword])
def test_no_command_sets_a_password_that_is_easy_to_guess(command, monkeypatch):
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", "Satsuma-2024-Shop")
    email = unique_email()
    with pytest.raises(CommandError, match="easy to guess"):
        command(email)
    assert sign_in(Person(id=None, email=email), "Satsuma-2024-Shop").status_code == 401


def test_an_existing_account_does_not_get_a_password_that_is_easy_to_guess():
    clerk = staff_member("orders.view")
    with pytest.raises(CommandError, match="easy to guess"):
        create_staff(email=clerk.email, password="Satsuma-2024-Shop", existing=True)
    assert can_open_admin(sign_in_to_admin(clerk, PASSWORD))


@pytest.mark.parametrize(
    ("password", "message"),
    [
        ("orchards and " * 20, "too long"),
        ("a walk in \udcff the orchard", "cannot be entered"),
        ("a walk \0 in the orchard", "cannot be entered"),
    ],
)
def test_no_command_sets_a_password_that_the_sign_in_refuses(monkeypatch, password, message):
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{password}\n"))
    with pytest.raises(CommandError, match=message):
        call_command("create_staff", email=unique_email(), password_stdin=True, permissions="orders.view")


@settings(max_examples=300, deadline=None)
@given(password=strategies.text(max_size=300), name=strategies.text(max_size=200))
@example(password="İstanbul ǅ ﬃ ẞ \ud800 \0", name="İ")
@example(password="(", name="((((")
def test_every_text_is_either_refused_or_accepted(password, name):
    try:
        GuessesValidator().validate(password, User(email="ann@example.com", full_name=name))
    except ValidationError as error:
        assert error.messages[0].startswith(EASY_TO_GUESS)


def test_random_passwords_are_accepted():
    drawn = random.Random(58)
    for _ in range(200):
        password = "".join(drawn.choices(string.ascii_letters + string.digits, k=14))
        validate_password(password, User(email="ann@example.com", full_name="Ann Kumquat"))


# With every replacement of a letter that zxcvbn knows, the number of readings multiplies.
COSTLY = ["4@8({[<369&#!1/|0$5+7%2", "password1qaz4@8({[<369&#!1/|0$5+7%2", "4@({[<69!1$5+7"]


@pytest.mark.parametrize("text", COSTLY)
def test_a_long_password_costs_no_more_than_its_hash(text):
    user = User(email=f"{'a.' * 30}b@example.com", full_name="Ann " * 50)
    shortest = min(measure(lambda: GuessesValidator().validate((text * 20)[:256], user)) for _ in range(3))
    assert shortest < 0.3, "seconds of CPU; argon2 takes 0.1 to 0.3"


def measure(validate):
    started = time.thread_time()
    with contextlib.suppress(ValidationError):
        validate()
    return time.thread_time() - started
