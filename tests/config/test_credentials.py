"""Credentials: each process has the passwords and keys of its own contexts, and those of no other."""

import json
from itertools import pairwise, permutations

import pytest
from django.conf import settings

from ops.launch import keys, split
from shop.credentials import derive_credential, name_calls, name_calls_to, name_role
from tests.config.test_settings import ELSEWHERE, build_environment, check, read_settings  # noqa: F401  fixtures

KEY, NEXT = "k" * 40, "n" * 40
CALL_KEYS = "{name: found for name, found in s.CALL_KEYS.items() if found}"


def secrets_of(*contexts: str, keys_given: tuple[str, ...] = (KEY,)) -> dict[str, str]:
    """Return the environment of a process that hosts these contexts and has their secrets only."""
    own = {f"{context.upper()}_SECRETS": keys.format_context_secrets([*keys_given], context) for context in contexts}
    return {**ELSEWHERE, "CONTEXTS": ",".join(contexts), "JWT_PUBLIC_KEYS": "", **own}


@pytest.fixture
def call_keys(read_settings):  # noqa: F811
    """Return the keys of calls that the process of each context has, by caller and callee."""
    return {context: read_settings(CALL_KEYS, **secrets_of(context)) for context in settings.ALL_CONTEXTS}


def test_caller_and_callee_have_the_same_key_and_no_other_process_has_it(call_keys):
    for caller, callee in permutations(settings.ALL_CONTEXTS, 2):
        name = name_calls_to(caller, callee)
        [key] = call_keys[caller][name]
        have_it = {process for process, found in call_keys.items() if any(key in values for values in found.values())}
        assert (call_keys[callee][name], have_it) == ([key], {caller, callee}), name


def test_a_process_knows_no_key_of_the_calls_of_others(call_keys):
    names = set(call_keys["notifications"])
    others = [context for context in settings.ALL_CONTEXTS if context != "notifications"]
    pairs = [("notifications", callee) for callee in settings.ALL_CONTEXTS]
    pairs += [(other, "notifications") for other in others]
    assert names == {name_calls_to(*pair) for pair in pairs}


def test_a_process_has_the_password_of_its_own_role_only(read_settings):  # noqa: F811
    given = json.loads(secrets_of("notifications")["NOTIFICATIONS_SECRETS"])
    password = derive_credential(KEY, name_role("notifications"))
    databases = "{alias: one.get('PASSWORD') for alias, one in s.DATABASES.items()}"
    assert read_settings(databases, **secrets_of("notifications")) == {"default": None, "notifications": password}
    others = {
        derive_credential(KEY, name_role(context)) for context in settings.ALL_CONTEXTS if context != "notifications"
    }
    assert not others & {credential for found in given.values() for credential in found}
    assert name_role("directory") in given


def test_a_process_of_all_contexts_has_the_same_passwords(read_settings):  # noqa: F811
    passwords = "{alias: one['PASSWORD'] for alias, one in s.DATABASES.items() if alias != 'default'}"
    assert read_settings(passwords, CREDENTIAL_KEY=KEY) == {
        context: derive_credential(KEY, name_role(context)) for context in settings.ALL_CONTEXTS
    }


def test_secret_key_gives_no_credential_once_there_is_a_credential_key(read_settings):  # noqa: F811
    known_to_all = derive_credential(settings.SECRET_KEY, name_calls("orders"))
    for environment in ({"CREDENTIAL_KEY": KEY}, secrets_of("payments")):
        found = read_settings(CALL_KEYS, **environment)
        assert known_to_all not in [key for values in found.values() for key in values]
    assert known_to_all in read_settings(CALL_KEYS)["orders"]


def test_a_server_without_the_new_passwords_accepts_those_of_secret_key(read_settings):  # noqa: F811
    former = "s.DATABASES['orders']['FORMER_PASSWORDS']"
    expected = [derive_credential(settings.SECRET_KEY, name_role("orders"))]
    assert read_settings(former, CREDENTIAL_KEY=KEY) == expected
    assert read_settings(former, **secrets_of("orders")) == expected


NAME = name_calls_to("orders", "payments")
STEPS = [
    {},
    {"CREDENTIAL_KEY_FALLBACKS": KEY},
    {"CREDENTIAL_KEY": KEY, "CREDENTIAL_KEY_FALLBACKS": settings.SECRET_KEY},
    {"CREDENTIAL_KEY": KEY},
    {"CREDENTIAL_KEY": KEY, "CREDENTIAL_KEY_FALLBACKS": NEXT},
    {"CREDENTIAL_KEY": NEXT, "CREDENTIAL_KEY_FALLBACKS": KEY},
    {"CREDENTIAL_KEY": NEXT},
]


def test_at_each_step_of_a_change_the_steps_before_and_after_accept_its_calls(read_settings):  # noqa: F811
    accepted = f"s.CALL_KEYS.get({NAME!r}) or s.CALL_KEYS['orders']"
    found = [read_settings(accepted, **step) for step in STEPS]
    for one, following in pairwise(found):
        assert one[0] in following
        assert following[0] in one
    assert found[0][0] not in found[3]


def test_a_process_with_secrets_and_one_with_the_key_accept_each_others_calls(read_settings):  # noqa: F811
    accepted = f"s.CALL_KEYS[{NAME!r}]"
    of_all = read_settings(accepted, CREDENTIAL_KEY=KEY)
    of_one = read_settings(accepted, **secrets_of("payments"))
    assert of_one[0] == of_all[0]


def test_former_credentials_are_among_the_secrets(read_settings):  # noqa: F811
    password = "[s.DATABASES['users']['PASSWORD'], s.DATABASES['users']['FORMER_PASSWORDS'][0]]"
    assert read_settings(password, **secrets_of("users", keys_given=(NEXT, KEY))) == [
        derive_credential(NEXT, name_role("users")),
        derive_credential(KEY, name_role("users")),
    ]


WRONG = {
    "ORDERS_SECRETS is not set": secrets_of("notifications") | {"CONTEXTS": "orders,notifications"},
    "NOTIFICATIONS_SECRETS cannot be read: is not what": {"NOTIFICATIONS_SECRETS": '{"role notifications": ["hush"]}'},
    "CREDENTIAL_KEY (or a fallback) is shorter than 32": {"CREDENTIAL_KEY": "hush"},
    "CREDENTIAL_KEY (or a fallback) is shorter": {"CREDENTIAL_KEY_FALLBACKS": f"{KEY},hush"},
}


@pytest.mark.parametrize(("sentence", "changes"), WRONG.items(), ids=WRONG)
def test_wrong_credentials_stop_the_start(sentence, changes, check):  # noqa: F811
    done = check(**changes)
    assert done.returncode != 0
    assert sentence in done.stderr
    assert not {"hush", "Traceback"} & set(done.stderr.split())


def test_a_process_with_secrets_that_gets_the_key_of_all_is_warned_of(check):  # noqa: F811
    done = check(CREDENTIAL_KEY=NEXT, **secrets_of(*settings.ALL_CONTEXTS))
    assert (done.returncode, "config.W004" in done.stderr) == (0, True)


def test_the_folder_of_a_context_has_its_secrets_only(tmp_path):
    keys.write_missing_secrets(tmp_path, "database:5432")
    key = (tmp_path / "keys" / "CREDENTIAL_KEY").read_text()
    for context in settings.ALL_CONTEXTS:
        found = {file.name: file.read_text() for file in (tmp_path / "contexts" / context).iterdir()}
        signing_key = (tmp_path / "keys" / "JWT_SIGNING_KEY").read_text()
        assert found == {"SECRETS": keys.format_context_secrets([key], context)} | (
            {"JWT_SIGNING_KEY": signing_key} if context == "users" else {}
        )
    entries = dict(line.split("=", 1) for line in (tmp_path / "contexts" / "secrets.env").read_text().splitlines())
    assert entries == {
        f"{context.upper()}_SECRETS": keys.format_context_secrets([key], context) for context in settings.ALL_CONTEXTS
    }


def test_secrets_have_former_keys_while_the_key_is_changed(tmp_path):
    keys.write_missing_secrets(tmp_path, "database:5432")
    (tmp_path / "keys" / "CREDENTIAL_KEY").rename(tmp_path / "keys" / "CREDENTIAL_KEY_FALLBACKS")
    keys.write_missing_secrets(tmp_path, "database:5432")
    new, old = ((tmp_path / "keys" / name).read_text() for name in ("CREDENTIAL_KEY", "CREDENTIAL_KEY_FALLBACKS"))
    assert new != old
    found = (tmp_path / "contexts" / "orders" / "SECRETS").read_text()
    assert found == keys.format_context_secrets([new, old], "orders")


def test_secrets_follow_the_steps_of_a_change_by_files(tmp_path):
    own = tmp_path / "keys"
    keys.write_missing_secrets(tmp_path, "database:5432")
    old = (own / "CREDENTIAL_KEY").read_text()
    for present, other in ((old, NEXT), (NEXT, old)):
        (own / "CREDENTIAL_KEY").write_text(present)
        (own / "CREDENTIAL_KEY_FALLBACKS").write_text(other)
        keys.write_missing_secrets(tmp_path, "database:5432")
        found = (tmp_path / "contexts" / "orders" / "SECRETS").read_text()
        assert found == keys.format_context_secrets([present, other], "orders")
    (own / "CREDENTIAL_KEY_FALLBACKS").unlink()
    keys.write_missing_secrets(tmp_path, "database:5432")
    assert (tmp_path / "contexts" / "orders" / "SECRETS").read_text() == keys.format_context_secrets([NEXT], "orders")


def test_make_split_gives_a_process_the_secrets_of_its_context(tmp_path):
    signing_key, file = keys.generate_signing_key(), tmp_path / "key"
    file.write_text(KEY)
    for given in ({"CREDENTIAL_KEY": KEY}, {"CREDENTIAL_KEY_FILE": str(file)}):
        environment = {"JWT_SIGNING_KEY": signing_key, "CREDENTIAL_KEY_FALLBACKS": NEXT, **given}
        found = split.select_secrets(environment, "orders")
        assert found.keys() == {"JWT_PUBLIC_KEYS", "ORDERS_SECRETS"}
        assert found["ORDERS_SECRETS"] == keys.format_context_secrets([KEY, NEXT], "orders")
    assert split.select_secrets({"JWT_SIGNING_KEY": signing_key}, "users") == {"JWT_SIGNING_KEY": signing_key}
