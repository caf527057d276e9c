"""Settings: a missing or wrong value stops the start with a message that names it."""

import os
import subprocess
import sys

import pytest
from django.conf import settings

from ops.launch import keys

P384 = "-----BEGIN PRIVATE KEY-----\\nMIG2AgEAMBAGByqGSM49AgEGBSuBBAAi\\n-----END PRIVATE KEY-----\\n"
ELSEWHERE = {f"{context.upper()}_URL": "http://127.0.0.1:9" for context in settings.ALL_CONTEXTS}

WRONG = {
    "SECRET_KEY is not set": {"SECRET_KEY": None},
    "SECRET_KEY is shorter than 32 characters": {"SECRET_KEY": "short"},
    "DATABASE_URL is not set": {"DATABASE_URL": None},
    "DATABASE_URL is not a postgres:// address": {"DATABASE_URL": "mysql://root@localhost/shop"},
    "ORDERS_DATABASE_URL is not a postgres:// address": {"ORDERS_DATABASE_URL": "sqlite:///shop.db"},
    "JWT_SIGNING_KEY is not set": {"JWT_SIGNING_KEY": None},
    "JWT_SIGNING_KEY is not an EC P-256 private key": {"JWT_SIGNING_KEY": "garbage"},
    "JWT_SIGNING_KEY is not an EC P-256 private key in PEM": {"JWT_SIGNING_KEY": P384},
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
    "http://: must be an http:// or https:// URL": {"CONTEXTS": "orders", **ELSEWHERE, "PAYMENTS_URL": "http://:"},
    "ORDERS_CALL_KEYS has a key shorter than 32 characters": {"ORDERS_CALL_KEYS": "x" * 32 + ",short"},
    "EMAIL_PORT cannot be read": {"EMAIL_PORT": "smtp"},
    "DATABASE_POOL_SIZE is 0; it has to be above 0": {"DATABASE_POOL_SIZE": "0"},
    "RESERVATION_HOLD_SECONDS is -1.0; it has to be above 0": {"RESERVATION_HOLD_SECONDS": "-1"},
    "ON_HOLD_SECONDS cannot be read": {"ON_HOLD_SECONDS": "a while"},
    "CANCEL_WINDOW is -1.0; it has to be 0 or above": {"CANCEL_WINDOW": "-1"},
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
    "EMAIL_TIMEOUT_SECONDS is -1.0": {"EMAIL_TIMEOUT_SECONDS": "-1"},
    "EMAIL_DATA_TIMEOUT_SECONDS is 0.0; it has to be above 0": {"EMAIL_DATA_TIMEOUT_SECONDS": "0"},
    "EMAIL_MAX_UNKNOWN_OUTCOMES is 0; it has to be above 0": {"EMAIL_MAX_UNKNOWN_OUTCOMES": "0"},
    "PARK_REFUSED_EVENTS_AFTER_HOURS is 649.0; it can be at most 648": {"PARK_REFUSED_EVENTS_AFTER_HOURS": "649"},
    "SITE_URL cannot be read: 'shop.example' must be an http:// or https:// URL": {"SITE_URL": "shop.example"},
    "SITE_URL cannot be read: Invalid IPv6 URL": {"SITE_URL": "http://[shop"},
    "TRUSTED_PROXIES cannot be read: 'the gateway' does not": {"TRUSTED_PROXIES": "the gateway"},
    "TRUSTED_PROXIES cannot be read: 10.0.0.1/8 has host bits set": {"TRUSTED_PROXIES": "10.0.0.1/8"},
    "TRUSTED_PROXIES cannot be read: a network of all addresses": {"TRUSTED_PROXIES": "10.0.0.1,0.0.0.0/0"},
    "SECRET_KEY cannot be read: SECRET_KEY_FILE: [Errno 2]": {"SECRET_KEY_FILE": "/no/such/file"},
}


def check(**changes):
    """Run `manage.py check` with a changed environment; None removes a variable."""
    environment = {name: value for name, value in (dict(os.environ) | changes).items() if value is not None}
    command = [sys.executable, "manage.py", "check"]
    return subprocess.run(command, cwd=settings.BASE_DIR, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("sentence", "changes"), WRONG.items(), ids=WRONG)
def test_an_invalid_value_stops_the_start_with_a_message(sentence, changes):
    done = check(**changes)
    assert done.returncode != 0
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_a_valid_configuration_starts():
    done = check()
    assert (done.returncode, "no issues" in done.stdout) == (0, True), done.stderr


def test_a_context_may_be_hosted_alone():
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
    assert set(first) == {"SECRET_KEY", "JWT_SIGNING_KEY", "POSTGRES_PASSWORD", "DATABASE_URL"}
    (folder / "database" / "POSTGRES_PASSWORD.new").write_text("interrupted while it was wri")
    find_secrets_in(folder)["SECRET_KEY"].unlink()
    keys.write_missing_secrets(folder, "database:5432")
    again = {name: file.read_text() for name, file in find_secrets_in(folder).items()}
    assert {name for name in first if first[name] != again[name]} == {"SECRET_KEY"}
    assert {file.stat().st_mode & 0o077 for file in find_secrets_in(folder).values()} == {0}


def test_secrets_that_cannot_be_stored_are_reported():
    command = [sys.executable, "-m", "ops.launch.keys", "/proc/nowhere"]
    done = subprocess.run(command, cwd=settings.BASE_DIR, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("Cannot write the secrets")
    assert "Traceback" not in done.stderr


SITES = {"https://shop.example": "shop.example", "http://[::1]:8000": "[::1]", "http://10.0.0.7:81": "10.0.0.7"}


def allowed_hosts(**environment):
    show = [sys.executable, "-c", "from config import settings as s; print(*s.ALLOWED_HOSTS)"]
    environment = os.environ | environment
    return subprocess.run(
        show, cwd=settings.BASE_DIR, env=environment, capture_output=True, text=True, check=True
    ).stdout.split()


@pytest.mark.parametrize("site", SITES)
def test_the_host_of_the_site_is_allowed(site):
    assert allowed_hosts(SITE_URL=site) == [SITES[site], "localhost", "127.0.0.1", "[::1]"]


def test_only_the_configured_hosts_are_allowed():
    assert allowed_hosts(SITE_URL="https://shop.example", ALLOWED_HOSTS="a.example,b.example") == [
        "a.example",
        "b.example",
    ]
