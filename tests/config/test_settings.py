"""Settings: a missing or wrong value stops the start with a message that names it."""

import json
import os
import subprocess
import sys
from functools import partial

import pytest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

import shop.settings
from ops.launch import keys
from ops.launch.keys import generate_signing_key
from shop.setting_types import parse_url
from shop.settings import env, read_number, read_setting, read_whole_number, registry
from shop.token_keys import build_jwk
from tests.public_keys import public_pem

P384 = "-----BEGIN PRIVATE KEY-----\\nMIG2AgEAMBAGByqGSM49AgEGBSuBBAAi\\n-----END PRIVATE KEY-----\\n"
FILE_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
ELSEWHERE = {f"{context.upper()}_URL": "http://127.0.0.1:9" for context in settings.ALL_CONTEXTS}

WRONG = {
    "SECRET_KEY is not set": {"SECRET_KEY": None},
    "SECRET_KEY is shorter than 32 characters": {"SECRET_KEY": "short"},
    "DATABASE_URL is not set": {"DATABASE_URL": None},
    "DATABASE_URL is not a postgres:// address": {"DATABASE_URL": "mysql://root@localhost/shop"},
    "DATABASE_URL is not a valid postgres:// address": {
        "DATABASE_URL": "postgres://shop:pa/ss#word@db.example:5432/postgres"
    },
    "ORDERS_DATABASE_URL is not a postgres:// address": {"ORDERS_DATABASE_URL": "sqlite:///shop.db"},
    "SECURITY_CONTACT cannot be read: 'somebody' is not an address such as mailto:": {"SECURITY_CONTACT": "somebody"},
    "DISK_FOLDERS cannot be read: '/nowhere' is not a folder": {"DISK_FOLDERS": "/tmp,/nowhere"},
    "MIN_FREE_DISK_MB is -1": {"MIN_FREE_DISK_MB": "-1"},
    "JWT_SIGNING_KEY is not set": {"JWT_SIGNING_KEY": None},
    "JWT_SIGNING_KEY is not an EC P-256 private key": {"JWT_SIGNING_KEY": "garbage"},
    "JWT_SIGNING_KEY is not an EC P-256 private key in PEM": {"JWT_SIGNING_KEY": P384},
    "JWT_PUBLIC_KEYS is not set: give this process, which does not host users, the public key": {
        "JWT_SIGNING_KEY": None,
        "CONTEXTS": "notifications",
        **ELSEWHERE,
    },
    "CONTEXTS contains unknown contexts: shipping. Valid contexts: inventory, notifications": {
        "CONTEXTS": "orders,shipping"
    },
    "TRANSPORT is 'pigeon'; it can be local, loopback": {"TRANSPORT": "pigeon"},
    "ENGINE is 'steam'; it can be embedded, celery, none": {"ENGINE": "steam"},
    "ENGINE is celery: set BROKER_URL to the address of Redis": {"ENGINE": "celery"},
    "BROKER_URL cannot be read: must be a redis://": {"ENGINE": "celery", "BROKER_URL": "http://secret@broker"},
    "POLL_SECONDS is 0.0; it has to be above 0": {"POLL_SECONDS": "0"},
    "WATCHDOG_SECONDS is -1.0": {"WATCHDOG_SECONDS": "-1"},
    "LOG_LEVEL is 'LOUD'": {"LOG_LEVEL": "LOUD"},
    "LOG_FORMAT is 'xml'; it can be json, text": {"LOG_FORMAT": "xml"},
    "CONTEXTS leaves out inventory: set INVENTORY_URL to the address": {"CONTEXTS": "orders"},
    "PAYMENTS_URL cannot be read: must be an http:// or https:// URL": {
        "CONTEXTS": "orders",
        **ELSEWHERE,
        "PAYMENTS_URL": "http://:",
    },
    "ORDERS_CALL_KEYS has a key shorter than 32 characters": {"ORDERS_CALL_KEYS": "x" * 32 + ",short"},
    "EMAIL_PORT cannot be read: 'smtp' is not a whole number": {"EMAIL_PORT": "smtp"},
    "EMAIL_USE_TLS cannot be read: 'ture' is neither true nor false": {"EMAIL_USE_TLS": "ture"},
    "EMAIL_HOST_PASSWORD cannot be read: the value is in quotes": {"EMAIL_HOST_PASSWORD": '"swordfish"'},
    "EMAIL_HOST_PASSWORD cannot be read: the value begins or ends with a blank": {"EMAIL_HOST_PASSWORD": "swordfish "},
    "SECRET_KEY cannot be read: the value begins or ends with a blank": {
        "SECRET_KEY": "    # 32 characters or more; signs sessions"
    },
    "CURRENCY cannot be read: the value contains a comment": {"CURRENCY": "EUR  # the euro"},
    "DATABASE_URL cannot be read: the value is in quotes": {"DATABASE_URL": "'postgres://db.example/postgres'"},
    "EMAIL_TIMEOUT_SECONDS cannot be read: '5 minutes' is not a number": {"EMAIL_TIMEOUT_SECONDS": "5 minutes"},
    "PROVIDER_TIMEOUT_SECONDS cannot be read: 'nan' is not a number": {"PROVIDER_TIMEOUT_SECONDS": "nan"},
    "PAYMENT_PROVIDERS cannot be read: 'sandbox,' has an empty entry": {"PAYMENT_PROVIDERS": "sandbox,"},
    "WEB_THREADS is 0; it has to be from 1 to 256": {"WEB_THREADS": "0"},
    "BODY_TIMEOUT_SECONDS is 0.0; it has to be above 0": {"BODY_TIMEOUT_SECONDS": "0"},
    "MAX_BODY_BYTES is 0; it has to be from 1000 to 100000000": {"MAX_BODY_BYTES": "0"},
    "SECRET_KEY_FALLBACKS has a key shorter than 32 characters": {"SECRET_KEY_FALLBACKS": "x" * 40 + ",short"},
    "SECRET_KEY_FALLBACKS cannot be read: must be secrets separated by commas": {
        "SECRET_KEY_FALLBACKS": "x" * 40 + ","
    },
    "JWT_RETIRED_KEYS cannot be read: each key has to be a public JWK, or a public key in PEM": {
        "JWT_RETIRED_KEYS": P384
    },
    "JWT_RETIRED_KEYS cannot be read: each key has to be a public JWK of an EC P-256 key": {
        "JWT_RETIRED_KEYS": '{"kid": "1", "kty": "EC", "crv": "P-256", "x": "a", "y": "b"}'
    },
    "JWT_RETIRED_KEYS cannot be read": {"JWT_RETIRED_KEYS": '{"kty": "EC"'},
    "JWT_RETIRED_KEYS cannot be read: each key has to be a public JWK": {
        "JWT_RETIRED_KEYS": '[{"kid": "1", "d": "private"}]'
    },
    "SECURE_HSTS_SECONDS is -1; it has to be from 0": {"SECURE_HSTS_SECONDS": "-1"},
    "SECURE_HSTS_PRELOAD needs SECURE_HSTS_INCLUDE_SUBDOMAINS=true": {"SECURE_HSTS_PRELOAD": "true"},
    "SECURE_HSTS_PRELOAD needs SECURE_HSTS_INCLUDE_SUBDOMAINS=true and a SECURE_HSTS_SECONDS of a year": {
        "SECURE_HSTS_PRELOAD": "true",
        "SECURE_HSTS_INCLUDE_SUBDOMAINS": "true",
        "SECURE_HSTS_SECONDS": "3600",
    },
    "DATABASE_POOL_SIZE is 0; it has to be from 1 to 1000": {"DATABASE_POOL_SIZE": "0"},
    "DATABASE_CONNECTIONS is 3; it has to be from 4 to 10000": {"DATABASE_CONNECTIONS": "3"},
    "DATABASE_PROCESSES is 0; it has to be from 1 to 10000": {"DATABASE_PROCESSES": "0"},
    "DATABASE_IDLE_CONNECTION_SECONDS is 0.0; it has to be from 0.1 to 3600": {"DATABASE_IDLE_CONNECTION_SECONDS": "0"},
    "DATABASE_IDLE_TRANSACTION_SECONDS is 3; it has to be from 4 to 3600": {"DATABASE_IDLE_TRANSACTION_SECONDS": "3"},
    "RESERVATION_HOLD_SECONDS is -1.0; it has to be above 0": {"RESERVATION_HOLD_SECONDS": "-1"},
    "UNPAID_HOLD_SECONDS is 0.0; it has to be above 0": {"UNPAID_HOLD_SECONDS": "0"},
    "HOLD_LIMIT_ORDERS cannot be read: 'email:0' is not a limit": {"HOLD_LIMIT_ORDERS": "address:3,email:0"},
    "HOLD_LIMIT_UNITS cannot be read: '10/minute' is not a limit": {"HOLD_LIMIT_UNITS": "10/minute"},
    "HOLD_LIMIT_UNITS cannot be read: 'email:2' is not a limit": {"HOLD_LIMIT_UNITS": "email:1,email:2"},
    "HOLD_LIMIT_ORDERS cannot be read: 'card:1' is not a limit": {"HOLD_LIMIT_ORDERS": "card:1"},
    "MAX_ITEM_QUANTITY is 0; it has to be from 1 to 1000000": {"MAX_ITEM_QUANTITY": "0"},
    "MAX_ORDER_LINES is 40000; it has to be from 1 to 10000": {"MAX_ORDER_LINES": "40000"},
    "MAX_CART_ITEMS is 200 and MAX_ORDER_LINES is 50: a full cart could not be ordered": {"MAX_ORDER_LINES": "50"},
    "ON_HOLD_SECONDS cannot be read": {"ON_HOLD_SECONDS": "a while"},
    "CANCEL_WINDOW is -1.0; it has to be from 0 to 315360000": {"CANCEL_WINDOW": "-1"},
    "ORDER_LINK_TEMPLATE cannot be read: it needs the placeholders": {"ORDER_LINK_TEMPLATE": "https://a.example/{id}"},
    "ORDER_LINK_TEMPLATE cannot be read: it has unknown placeholders: order": {
        "ORDER_LINK_TEMPLATE": "https://a.example/{order}?token={token}"
    },
    "ORDER_LINK_TEMPLATE cannot be read: it has to begin with": {"ORDER_LINK_TEMPLATE": "/orders/{id}?token={token}"},
    "RECONCILE_SECONDS is -0.5; it has to be above 0": {"RECONCILE_SECONDS": "-0.5"},
    "PROVIDER_TIMEOUT_SECONDS is -5.0": {"PROVIDER_TIMEOUT_SECONDS": "-5"},
    "ACCESS_TOKEN_SECONDS cannot be read": {"ACCESS_TOKEN_SECONDS": "five"},
    "REFRESH_TOKEN_DAYS is 0.0": {"REFRESH_TOKEN_DAYS": "0"},
    "CHAOS has 'orders.commit.after:0:kill', which is not <point>": {"CHAOS": "orders.commit.after:0:kill"},
    "CHAOS has 'x:p=2:raise', which is not": {"CHAOS": "orders.commit.after:1:kill,x:p=2:raise"},
    "CHAOS has 'x:1:explode', which is not": {"CHAOS": "x:1:explode"},
    "CHAOS and CHAOS_RECORD are for test databases only": {"CHAOS": "x:1:raise", "DATABASE_PREFIX": "satsuma"},
    "for test databases only: their names begin with test_": {
        "CHAOS_RECORD": "points",
        "DATABASE_PREFIX": "satsuma_test_",
    },
    "CURRENCY cannot be read: 'euro' is not a currency code of ISO 4217, such as EUR or JPY": {"CURRENCY": "euro"},
    "'eur' is not a currency code": {"CURRENCY": "eur"},
    "'ABC' is not a currency code": {"CURRENCY": "ABC"},
    "'XAU' is not a currency code": {"CURRENCY": "XAU"},
    "DEFAULT_FROM_EMAIL cannot be read: 'Satsuma' is not an e-mail address": {"DEFAULT_FROM_EMAIL": "Satsuma"},
    "EMAIL_PORT is 0; it has to be from 1 to 65535": {"EMAIL_PORT": "0"},
    "EMAIL_PORT is 99999; it has to be from 1 to 65535": {"EMAIL_PORT": "99999"},
    "EMAIL_TIMEOUT_SECONDS is 3000000.0; it has to be above 0 and at most 3600": {"EMAIL_TIMEOUT_SECONDS": "3000000"},
    "CANCEL_WINDOW is 2000000000.0; it has to be from 0 to 315360000": {"CANCEL_WINDOW": "2000000000"},
    "EMAIL_HOST cannot be read: 'mail.example:587' is not a host": {"EMAIL_HOST": "mail.example:587"},
    "EMAIL_HOST cannot be read: 'smtp://mail.example' is not a host": {"EMAIL_HOST": "smtp://mail.example"},
    "EMAIL_HOST cannot be read: '' is not a host": {"EMAIL_HOST": ""},
    "EMAIL_BACKEND cannot be read: 'smtp' is not the dotted name of a class": {"EMAIL_BACKEND": "smtp"},
    "EMAIL_BACKEND is not usable: No module named": {"EMAIL_BACKEND": "no.such.Backend"},
    "EMAIL_BACKEND is not usable: ": {"EMAIL_BACKEND": FILE_BACKEND},
    "EMAIL_BACKEND is not usable: Could not create directory": {
        "EMAIL_BACKEND": FILE_BACKEND,
        "EMAIL_FILE_PATH": "/proc/nowhere",
    },
    "PASSWORD_HASHERS is not usable: No module named": {"PASSWORD_HASHERS": "no.such.Hasher"},
    "PASSWORD_HASHERS cannot be read: '' is empty": {"PASSWORD_HASHERS": ""},
    "PAYMENT_PROVIDERS cannot be read: '' is empty": {"PAYMENT_PROVIDERS": ""},
    "PAYMENT_PROVIDERS cannot be read: 'sandbox,sandbox' is empty or has a name twice": {
        "PAYMENT_PROVIDERS": "sandbox,sandbox"
    },
    "CONTEXTS cannot be read: '' is empty": {"CONTEXTS": ""},
    "CONTEXTS cannot be read: 'orders,orders' is empty or has a name twice": {"CONTEXTS": "orders,orders"},
    "JWT_ISSUER cannot be read: it is empty": {"JWT_ISSUER": ""},
    "ALLOWED_HOSTS cannot be read: it is empty": {"ALLOWED_HOSTS": ""},
    "ALLOWED_HOSTS cannot be read: 'https://shop.example' is not a host": {"ALLOWED_HOSTS": "https://shop.example"},
    "ALLOWED_HOSTS cannot be read: 'shop.example:443' is not a host": {"ALLOWED_HOSTS": "shop.example:443"},
    "SITE_URL cannot be read: must be a URL with a valid host and a port": {"SITE_URL": "https://shop.example:99999"},
    "SITE_URL cannot be read: must be a URL with a valid host": {"SITE_URL": "https://shop example"},
    "REDIS_URL cannot be read: must be a redis:// or rediss:// URL with a host": {"REDIS_URL": "redis://:secret@"},
    "REDIS_URL cannot be read: must be a URL with a valid host and a port": {"REDIS_URL": "redis://:secret@db:0/1"},
    "BROKER_URL cannot be read: must be a URL with a valid host and a port": {"BROKER_URL": "amqp://u:secret@b:99999"},
    "ORDERS_URL cannot be read: must be a URL with a valid host and a port": {"ORDERS_URL": "http://orders:99999"},
    "ORDERS_URL cannot be read: must have no path": {"ORDERS_URL": "http://orders:8001/internal"},
    "DATABASE_URL is not a valid postgres:// address: check it for a port that is not from 1 to 65535": {
        "DATABASE_URL": "postgres://shop:secret@db.example:99999/postgres"
    },
    "ORDERS_DATABASE_URL names no database": {"ORDERS_DATABASE_URL": "postgres://shop:secret@db.example:5432"},
    "DATABASE_PREFIX cannot be read: '' is not a name": {"DATABASE_PREFIX": ""},
    "DATABASE_PREFIX cannot be read: 'a.b' is not a name": {"DATABASE_PREFIX": "a.b"},
    "ORDER_LINK_TEMPLATE cannot be read: must be an http:// or https:// URL with a host": {
        "ORDER_LINK_TEMPLATE": "https:///orders/{id}?token={token}"
    },
    "ORDER_LINK_TEMPLATE cannot be read: Unknown format code 'd'": {
        "ORDER_LINK_TEMPLATE": "{site}/orders/{id:d}?token={token}"
    },
    "EMAIL_TIMEOUT_SECONDS is -1.0": {"EMAIL_TIMEOUT_SECONDS": "-1"},
    "EMAIL_DATA_TIMEOUT_SECONDS is 0.0; it has to be above 0": {"EMAIL_DATA_TIMEOUT_SECONDS": "0"},
    "EMAIL_MAX_UNKNOWN_OUTCOMES is 0; it has to be from 1 to 100": {"EMAIL_MAX_UNKNOWN_OUTCOMES": "0"},
    "PARK_REFUSED_EVENTS_AFTER_HOURS is 649.0; it has to be above 0 and at most 648": {
        "PARK_REFUSED_EVENTS_AFTER_HOURS": "649"
    },
    "SITE_URL cannot be read: 'shop.example' must be an http:// or https:// URL": {"SITE_URL": "shop.example"},
    "SITE_URL cannot be read: 'https://shop.example?x=1' must have no user name": {
        "SITE_URL": "https://shop.example?x=1"
    },
    "SITE_URL cannot be read: Invalid IPv6 URL": {"SITE_URL": "http://[shop"},
    "TRUSTED_PROXIES cannot be read: 'the gateway' does not": {"TRUSTED_PROXIES": "the gateway"},
    "TRUSTED_PROXIES cannot be read: 10.0.0.1/8 has host bits set": {"TRUSTED_PROXIES": "10.0.0.1/8"},
    "TRUSTED_PROXIES cannot be read: a network of all addresses": {"TRUSTED_PROXIES": "10.0.0.1,0.0.0.0/0"},
    "SECRET_KEY cannot be read: SECRET_KEY_FILE: [Errno 2]": {"SECRET_KEY_FILE": "/no/such/file"},
}


def build_environment(**changes):
    """Return the environment of the test run with these changes; None removes a variable."""
    return {name: value for name, value in (dict(os.environ) | changes).items() if value is not None}


@pytest.fixture
def check(preloaded_python):
    """Return a function that runs `manage.py check` with a changed environment."""
    return lambda **changes: preloaded_python.run("manage.py", "check", environment=build_environment(**changes))


@pytest.fixture
def read_settings(preloaded_python):
    """Return a function that evaluates an expression on the settings `s`, read from a changed environment."""

    def read(expression, **changes):
        script = f"import json; from config import settings as s; print(json.dumps({expression}))"
        done = preloaded_python.run("-c", script, environment=build_environment(**changes))
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return read


@pytest.mark.parametrize(("sentence", "changes"), WRONG.items(), ids=WRONG)
def test_an_invalid_value_stops_the_start_with_a_message(sentence, changes, check):
    done = check(**changes)
    assert done.returncode != 0
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert "secret@" not in done.stderr


@pytest.mark.parametrize("name", sorted(one.name for one in registry.values() if "number" in one.kind))
def test_every_number_has_limits_that_are_documented(name):
    assert registry[name].limits, "read it with read_number or read_whole_number"


def test_a_number_cannot_be_read_without_limits():
    for read in (env.int, env.float):
        with pytest.raises(TypeError, match="PLANTED is a number without limits"):
            read_setting("PLANTED", read, 1)
    assert "PLANTED" not in registry


@pytest.mark.parametrize("value", ["0", "-1", "0.0001", "1e9", "1000000001", "9" * 400, "", " 5", "0x10", "٣"])
def test_a_number_outside_of_its_limits_is_refused_with_them(monkeypatch, value):
    monkeypatch.setattr(shop.settings, "registry", {})
    monkeypatch.setenv("CANCEL_WINDOW", value)
    for read in (partial(read_whole_number, most=10), partial(read_number, least=1, most=10)):
        with pytest.raises(
            ImproperlyConfigured, match=r"CANCEL_WINDOW (is .*; it has to be from 1 to 10|cannot be read)"
        ):
            read("CANCEL_WINDOW", 5)


@pytest.mark.parametrize(
    "end", ["", "/0", ":6379", ":secret@", "u:secret@:1", "h:0", "h:65536", "h:x", "-h", "h h", "h\\x", "[::", "h..h"]
)
def test_a_url_needs_a_host_and_a_valid_port(end):
    with pytest.raises(ValueError, match="must be a") as caught:
        parse_url(f"redis://{end}", ("redis",))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "end", ["h", "h/0", "h:65535", "u:p%40@h.example:1/0", "10.0.0.7", "[::1]:6379", "my_redis", ":p@h"]
)
def test_a_url_with_a_host_is_accepted(end):
    assert parse_url(f"redis://{end}", ("redis",)).geturl() == f"redis://{end}"


def test_a_valid_configuration_starts(check):
    done = check()
    assert (done.returncode, "no issues" in done.stdout) == (0, True), done.stderr


def test_a_context_may_be_hosted_alone(check):
    done = check(CONTEXTS="orders", **ELSEWHERE)
    assert done.returncode == 0, done.stderr


def find_secrets_in(folder):
    return {file.name: file for file in folder.rglob("*") if file.is_file() and file.suffix != ".new"}


def test_secrets_are_read_from_the_named_files(tmp_path):
    keys.write_missing_secrets(tmp_path, "database:5432")
    secrets = find_secrets_in(tmp_path)
    secrets["SECRET_KEY"].write_text(secrets["SECRET_KEY"].read_text() + "\n")
    files = {f"{name}_FILE": str(secrets[name]) for name in ("SECRET_KEY", "JWT_SIGNING_KEY", "DATABASE_URL")}
    script = "from config import settings as s; print(s.SECRET_KEY, s.DATABASE_SERVER['PASSWORD'], s.DATABASE_SERVER['HOST'])"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=settings.BASE_DIR,
        env=os.environ | files,
        capture_output=True,
        text=True,
        check=True,
    )
    expected = [secrets["SECRET_KEY"].read_text().strip(), secrets["POSTGRES_PASSWORD"].read_text(), "database"]
    assert done.stdout.split() == expected


def test_secrets_are_created_once_and_readable_by_their_owner_only(tmp_path):
    folder = tmp_path / "secrets"
    keys.write_missing_secrets(folder, "database:5432")
    first = {name: file.read_text() for name, file in find_secrets_in(folder).items()}
    assert set(first) == {
        "SECRET_KEY", "CREDENTIAL_KEY", "JWT_SIGNING_KEY", "JWT_PUBLIC_KEYS", "SECRETS", "secrets.env", "POSTGRES_PASSWORD",
        "DATABASE_URL",
    }  # fmt: skip
    (folder / "database" / "POSTGRES_PASSWORD.new").write_text("interrupted while it was wri")
    (folder / "keys" / "SECRET_KEY").unlink()
    keys.write_missing_secrets(folder, "database:5432")
    again = {name: file.read_text() for name, file in find_secrets_in(folder).items()}
    assert {name for name in first if first[name] != again[name]} == {"SECRET_KEY"}
    assert {file.stat().st_mode & 0o077 for file in find_secrets_in(folder).values()} == {0}


def test_what_every_process_gets_follows_what_users_has(tmp_path):
    keys.write_missing_secrets(tmp_path, "database:5432")
    for name, generate in (("SECRET_KEY", keys.generate_secret_key), ("JWT_SIGNING_KEY", keys.generate_signing_key)):
        (tmp_path / "keys" / name).write_text(generate())
    keys.write_missing_secrets(tmp_path, "database:5432")
    shared = {file.name: file.read_text() for file in (tmp_path / "shared").iterdir()}
    assert shared == {
        "SECRET_KEY": (tmp_path / "keys" / "SECRET_KEY").read_text(),
        "JWT_PUBLIC_KEYS": public_pem((tmp_path / "keys" / "JWT_SIGNING_KEY").read_text()),
    }


def test_secrets_that_cannot_be_stored_are_reported():
    command = [sys.executable, "-m", "ops.launch.keys", "/proc/nowhere"]
    done = subprocess.run(command, cwd=settings.BASE_DIR, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("Cannot write the secrets")
    assert "Traceback" not in done.stderr


SITES = {"https://shop.example": "shop.example", "http://[::1]:8000": "[::1]", "http://10.0.0.7:81": "10.0.0.7"}


@pytest.mark.parametrize("site", SITES)
def test_the_host_of_the_site_is_allowed(site, read_settings):
    assert read_settings("s.ALLOWED_HOSTS", SITE_URL=site) == [SITES[site], "localhost", "127.0.0.1", "[::1]"]


def test_only_the_configured_hosts_are_allowed(read_settings):
    assert read_settings("s.ALLOWED_HOSTS", SITE_URL="https://shop.example", ALLOWED_HOSTS="a.example,b.example") == [
        "a.example",
        "b.example",
    ]


@pytest.mark.parametrize("password", ["$x", "$HOME", "${x}", "a#b", "#", "%41", "back\\slash", "it's", 'a"b', "a b"])
def test_a_password_is_read_literally(password, read_settings):
    assert read_settings("s.EMAIL_HOST_PASSWORD", EMAIL_HOST_PASSWORD=password, x="expanded") == password


def test_a_password_in_a_file_may_contain_quotes_and_comments(tmp_path, read_settings):
    (tmp_path / "password").write_text('"it\'s # $x"\n')
    assert read_settings("s.EMAIL_HOST_PASSWORD", EMAIL_HOST_PASSWORD_FILE=str(tmp_path / "password")) == '"it\'s # $x"'


FORMER = [generate_signing_key(), generate_signing_key()]
FORMER_JWKS = [build_jwk(pem) for pem in FORMER]
RETIRED = {
    "a JSON array": json.dumps(FORMER_JWKS),
    "JWKs separated by commas": ",".join(map(json.dumps, FORMER_JWKS)),
    "a JWK set": json.dumps({"keys": FORMER_JWKS}, indent=2),
    "PEM": "".join(map(public_pem, FORMER)).replace("\n", "\\n"),
    "without kid": json.dumps([{name: key[name] for name in ("kty", "crv", "x", "y")} for key in FORMER_JWKS]),
}


@pytest.mark.parametrize("text", RETIRED.values(), ids=RETIRED)
def test_retired_keys_are_read_as_json_or_pem(text, read_settings):
    assert read_settings("s.JWT_RETIRED_KEYS", JWT_RETIRED_KEYS=text) == FORMER_JWKS


@pytest.mark.parametrize("text", RETIRED.values(), ids=RETIRED)
def test_retired_keys_are_read_from_a_file(text, tmp_path, read_settings):
    (tmp_path / "keys").write_text(text.replace("\\n", "\n") + "\n")
    published = read_settings("s.JWKS['keys']", JWT_RETIRED_KEYS_FILE=str(tmp_path / "keys"))
    assert published[1:] == FORMER_JWKS


def test_the_present_key_is_published_once(read_settings):
    present = public_pem(os.environ["JWT_SIGNING_KEY"]).replace("\n", "\\n")
    assert len(read_settings("s.JWKS['keys']", JWT_RETIRED_KEYS=present)) == 1


NOTIFICATIONS = {"CONTEXTS": "notifications", **ELSEWHERE}
KEYS = "[s.JWT_SIGNING_KEY, [key['kid'] for key in s.JWKS['keys']], s.HAS_NEEDLESS_SIGNING_KEY]"


def test_a_process_without_users_needs_the_public_key_only(read_settings):
    public = public_pem(FORMER[0]).replace("\n", "\\n")
    read = read_settings(KEYS, JWT_SIGNING_KEY=None, JWT_PUBLIC_KEYS=public, **NOTIFICATIONS)
    assert read == ["", [FORMER_JWKS[0]["kid"]], False]


def test_a_process_without_users_forgets_a_private_key_and_warns(read_settings, preloaded_python):
    read = read_settings(KEYS, JWT_SIGNING_KEY=FORMER[0], **NOTIFICATIONS)
    assert read == ["", [FORMER_JWKS[0]["kid"]], True]
    done = preloaded_python.run(
        "manage.py", "check", environment=build_environment(JWT_SIGNING_KEY=FORMER[0], **NOTIFICATIONS)
    )
    assert (done.returncode, "config.W003" in done.stderr) == (0, True)


def test_a_process_without_users_cannot_sign_a_token(preloaded_python):
    script = """
import django; django.setup()
from contexts.users.service import signing
from types import SimpleNamespace
from datetime import timedelta
from uuid import uuid4
boss = SimpleNamespace(id=uuid4(), email="boss@example.com", full_name="", permissions=["*"])
signing.sign_token(boss, kind="access", lifetime=timedelta(minutes=5), session_id=uuid4())
"""
    environment = build_environment(DJANGO_SETTINGS_MODULE="config.settings", **NOTIFICATIONS)
    done = preloaded_python.run("-c", script, environment=environment)
    assert done.returncode != 0
    assert "Unable to load PEM file" in done.stderr.splitlines()[-1]


SECRETS = ["a" * 40, "b" * 40]


@pytest.mark.parametrize("text", [",".join(SECRETS), json.dumps(SECRETS), ", ".join(SECRETS)])
def test_former_secrets_are_read_from_a_list(text, read_settings):
    assert read_settings("s.SECRET_KEY_FALLBACKS", SECRET_KEY_FALLBACKS=text) == SECRETS


def test_former_secrets_may_have_commas_in_a_json_array(read_settings):
    former = ["x," * 20, 'y"' * 20]
    assert read_settings("s.SECRET_KEY_FALLBACKS", SECRET_KEY_FALLBACKS=json.dumps(former)) == former


def test_former_secrets_are_read_from_a_file_with_one_in_each_line(tmp_path, read_settings):
    (tmp_path / "former").write_text("\n".join(SECRETS) + "\n")
    assert read_settings("s.SECRET_KEY_FALLBACKS", SECRET_KEY_FALLBACKS_FILE=str(tmp_path / "former")) == SECRETS


def test_what_is_derived_from_a_former_secret_is_accepted(read_settings):
    derived = "[s.CALL_KEYS['orders'], s.DATABASES['orders']['PASSWORD'], s.DATABASES['orders']['FORMER_PASSWORDS']]"
    [old_key], old_password, _ = read_settings(derived, SECRET_KEY=SECRETS[0])
    keys, password, former = read_settings(derived, SECRET_KEY=SECRETS[1], SECRET_KEY_FALLBACKS=SECRETS[0])
    assert (keys[1], former) == (old_key, [old_password])
    assert keys[0] != old_key
    assert password != old_password


def test_a_password_in_a_database_url_is_percent_decoded_once(read_settings):
    url = "postgres://shop:p%2540%23%2F@db.example:6432/name?sslmode=require"
    found = read_settings("s.DATABASES['orders']", ORDERS_DATABASE_URL=url)
    assert [found[name] for name in ("USER", "PASSWORD", "HOST", "PORT", "NAME")] == [
        "shop", "p%40#/", "db.example", 6432, "name",
    ]  # fmt: skip
    assert found["OPTIONS"]["sslmode"] == "require"


HTTPS = {"SITE_URL": "https://shop.example", "TRUSTED_PROXIES": "10.0.0.7", "ALLOW_SANDBOX_PAYMENTS": "true"}
HSTS = "[s.SECURE_HSTS_SECONDS, s.SECURE_HSTS_INCLUDE_SUBDOMAINS, s.SECURE_HSTS_PRELOAD]"


def test_hsts_covers_only_the_host_unless_the_operator_chooses_more(read_settings):
    assert read_settings(HSTS, **HTTPS) == [31536000, False, False]
    assert read_settings(HSTS, **HTTPS, SECURE_HSTS_SECONDS="0") == [0, False, False]
    more = {"SECURE_HSTS_INCLUDE_SUBDOMAINS": "true", "SECURE_HSTS_PRELOAD": "true", "SECURE_HSTS_SECONDS": "63072000"}
    assert read_settings(HSTS, **HTTPS, **more) == [63072000, True, True]
    assert read_settings(HSTS, **more)[0] == 0, "never without https"


SANDBOX = [
    {"SITE_URL": "https://shop.example"},
    {"SITE_URL": "HTTPS://SHOP.EXAMPLE"},
    {"SITE_URL": "https://shop.example", "PAYMENT_PROVIDERS": "sandbox"},
    {"SITE_URL": "https://shop.example", "PAYMENT_PROVIDERS": "other, sandbox"},
    {"SITE_URL": "https://shop.example", "ALLOW_SANDBOX_PAYMENTS": "false"},
]


# With a second payment provider, so that sandbox can be one of several.
CHECK_WITH_OTHER_PROVIDER = """
import runpy, sys, types
module = types.ModuleType("contexts.payments.providers.other")
module.provider = object()
sys.modules["contexts.payments.providers.other"] = module
sys.argv = ["manage.py", "check"]
runpy.run_path("manage.py", run_name="__main__")
"""


@pytest.mark.parametrize("environment", SANDBOX)
def test_the_sandbox_is_refused_in_production(preloaded_python, environment):
    assert not (settings.BASE_DIR / "contexts" / "payments" / "providers" / "other.py").exists()
    environment = build_environment(TRUSTED_PROXIES="10.0.0.7", **environment)
    done = preloaded_python.run("-c", CHECK_WITH_OTHER_PROVIDER, environment=environment)
    assert done.returncode == 1
    assert "config.E009" in done.stderr
    assert "ALLOW_SANDBOX_PAYMENTS=true" in done.stderr


STARTS = {
    "wsgi": ["-c", "import config.wsgi"],
    "internal": ["-c", "import config.internal"],
    "beat": ["-c", "import config.celery"],
    "deploy": ["manage.py", "check", "--deploy"],
    "engine": ["manage.py", "engine"],
    "worker": ["-m", "ops.launch.worker"],
    "serve": ["-m", "ops.launch.serve"],
}


@pytest.mark.parametrize("start", STARTS)
def test_no_process_starts_with_the_sandbox_in_production(preloaded_python, start):
    environment = {"SITE_URL": "https://shop.example", "TRUSTED_PROXIES": "10.0.0.7", "PORT": "1"}
    done = preloaded_python.run(*STARTS[start], environment=os.environ | environment)
    assert done.returncode != 0
    assert "PAYMENT_PROVIDERS contains sandbox" in done.stderr


def test_the_sandbox_is_allowed_for_a_demonstration_and_without_https(check):
    assert check(**HTTPS).returncode == 0
    assert check(SITE_URL="http://shop.example").returncode == 0


MISSPELT = {
    "CURENCY": "CURRENCY", "SITEURL": "SITE_URL", "EMAIL_PASSWORD": "EMAIL_HOST_PASSWORD", "SATSUMA_SITE_URL": "SITE_URL",
    "DJANGO_SECRET_KEY": "SECRET_KEY", "PAYMENT_PROVIDER": "PAYMENT_PROVIDERS", "WEB_WORKER": "WEB_WORKERS",
    "RESERVATION_HOLD_SECOND": "RESERVATION_HOLD_SECONDS", "ORDERS_DATABASE_URI": "ORDERS_DATABASE_URL",
}  # fmt: skip


def test_misspelt_names_are_warned_of_with_the_probable_one(check):
    done = check(**dict.fromkeys(MISSPELT, "1"))
    assert done.returncode == 0
    for name, meant in MISSPELT.items():
        assert f"{name} is set, but there is no such setting: did you mean {meant}?" in done.stderr


def test_only_unknown_variables_that_are_named_like_settings_cause_a_warning(check):
    foreign = (
        "POSTGRES_PASSWORD",
        "PYTHON_VERSION",
        "GPG_KEY",
        "ORDERS_SERVICE_HOST",
        "ORDERS_PORT_8001_TCP",
        "USERNAME",
    )
    done = check(SATSUMA_GADGETS="1", **dict.fromkeys(foreign, "1"))
    assert "SATSUMA_GADGETS is set, but there is no such setting; docs/settings.md lists all" in done.stderr
    assert [name for name in foreign if name in done.stderr] == []


def test_the_default_budget_is_what_the_threads_keep_under_load(read_settings):
    unset = {"DATABASE_CONNECTIONS": None}
    assert read_settings("s.CONNECTIONS.connections", **unset) == 28
    assert read_settings("s.CONNECTIONS.connections", WEB_THREADS="8", **unset) == 40
    assert read_settings("s.CONNECTIONS.connections", CONTEXTS="orders", **unset) == 12
    assert read_settings("s.CONNECTIONS.connections", DATABASE_CONNECTIONS="7") == 7


def test_idle_connections_are_kept_for_the_time_that_is_set(read_settings):
    pools = "{d['OPTIONS']['pool']['max_idle'] for d in s.DATABASES.values() if d}"
    assert read_settings(f"list({pools})", DATABASE_IDLE_CONNECTION_SECONDS="2.5") == [2.5]
