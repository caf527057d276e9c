"""Configuration: what is missing or wrong stops the start, with a sentence that names it."""

import os
import subprocess
import sys

import pytest
from django.conf import settings

P384 = "-----BEGIN PRIVATE KEY-----\\nMIG2AgEAMBAGByqGSM49AgEGBSuBBAAi\\n-----END PRIVATE KEY-----\\n"

WRONG = {
    "SECRET_KEY is not set": {"SECRET_KEY": None},
    "SECRET_KEY is shorter than 32 characters": {"SECRET_KEY": "short"},
    "DATABASE_URL is not set": {"DATABASE_URL": None},
    "DATABASE_URL is not a postgres:// address": {"DATABASE_URL": "mysql://root@localhost/shop"},
    "ORDERS_DATABASE_URL is not a postgres:// address": {"ORDERS_DATABASE_URL": "sqlite:///shop.db"},
    "JWT_SIGNING_KEY is not set": {"JWT_SIGNING_KEY": None},
    "JWT_SIGNING_KEY is not an EC P-256 private key": {"JWT_SIGNING_KEY": "garbage"},
    "JWT_SIGNING_KEY is not an EC P-256 private key in PEM": {"JWT_SIGNING_KEY": P384},
    "CONTEXTS names shipping; there are orders, inventory": {"CONTEXTS": "orders,shipping"},
    "TRANSPORT is 'pigeon'; it can be local, loopback": {"TRANSPORT": "pigeon"},
    "ENGINE is 'steam'; it can be embedded, none": {"ENGINE": "steam"},
    "LOG_LEVEL is 'LOUD'": {"LOG_LEVEL": "LOUD"},
    "LOG_FORMAT is 'xml'; it can be json, text": {"LOG_FORMAT": "xml"},
    "inventory is bound to https://inventory, but there is no remote transport": {"INVENTORY_URL": "https://inventory"},
    "EMAIL_PORT cannot be read": {"EMAIL_PORT": "smtp"},
    "DATABASE_POOL_SIZE is 0; it has to be above 0": {"DATABASE_POOL_SIZE": "0"},
    "RESERVATION_HOLD_SECONDS is -1.0; it has to be above 0": {"RESERVATION_HOLD_SECONDS": "-1"},
    "ON_HOLD_SECONDS cannot be read": {"ON_HOLD_SECONDS": "a while"},
    "RECONCILE_SECONDS is -0.5; it has to be above 0": {"RECONCILE_SECONDS": "-0.5"},
    "PROVIDER_TIMEOUT_SECONDS is -5.0": {"PROVIDER_TIMEOUT_SECONDS": "-5"},
    "ACCESS_TOKEN_SECONDS cannot be read": {"ACCESS_TOKEN_SECONDS": "five"},
    "REFRESH_TOKEN_DAYS is 0.0": {"REFRESH_TOKEN_DAYS": "0"},
    "CHAOS has 'orders.commit.after:0:kill', which is not <point>": {"CHAOS": "orders.commit.after:0:kill"},
    "CHAOS has 'x:p=2:raise', which is not": {"CHAOS": "orders.commit.after:1:kill,x:p=2:raise"},
    "CHAOS has 'x:1:explode', which is not": {"CHAOS": "x:1:explode"},
    "CHAOS and CHAOS_RECORD are for test databases only": {"CHAOS": "x:1:raise", "DATABASE_PREFIX": "satsuma"},
    "for test databases only: their names begin with test_": {"CHAOS_RECORD": "points", "DATABASE_PREFIX": "satsuma_test_"},
    "EMAIL_TIMEOUT_SECONDS is -1.0": {"EMAIL_TIMEOUT_SECONDS": "-1"},
}


def check(**changes):
    environment = {name: value for name, value in (dict(os.environ) | changes).items() if value is not None}
    return subprocess.run(
        [sys.executable, "manage.py", "check"], cwd=settings.BASE_DIR, env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip


@pytest.mark.parametrize(("sentence", "changes"), WRONG.items(), ids=WRONG)
def test_a_wrong_value_stops_the_start_with_a_sentence(sentence, changes):
    done = check(**changes)
    assert done.returncode != 0
    assert sentence in done.stderr


def test_a_right_configuration_starts():
    done = check()
    assert (done.returncode, "no issues" in done.stdout) == (0, True), done.stderr


def test_a_context_may_be_hosted_alone():
    done = check(CONTEXTS="orders")
    assert done.returncode == 0, done.stderr
