"""Contexts are registered by their folders: only the context map, and a few files with a reason, list them by name."""

import re
import sys
from pathlib import Path

import pytest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from config.contexts import ALL_CONTEXTS, find_contexts
from shop.context_settings import collect_context_settings
from shop.contexts import ContextConfig, get_context_config
from tests.context_map import list_callees_first, list_callers_first

ROOT = settings.BASE_DIR
WINDOW_LINES = 5
SCANNED_FOLDERS = (".ci", ".github", "bench", "config", "contexts", "ops", "shop", "tests")
SCANNED_FILES = (".env.example", "Dockerfile", "Makefile", "docker-compose.yml", "manage.py", "pyproject.toml")
IGNORED_SUFFIXES = (".json", ".pyc")  # generated
# Files that may name all contexts side by side, and why.
LISTINGS = {
    "Makefile": "one test of each kind of crossing, by file",
    "tests/topologies/test_state.py": "the calls between processes that one scenario makes",
    "ops/verify/cross_context.py": "invariants over pairs of contexts",
}


def find_listings(root: Path, contexts: tuple[str, ...]) -> set[str]:
    """Return the files that contain the names of all contexts as words within a few lines."""
    files = [root / name for name in SCANNED_FILES]
    files += [file for folder in SCANNED_FOLDERS for file in (root / folder).rglob("*")]
    return {
        str(file.relative_to(root))
        for file in files
        if file.is_file()
        and file.suffix not in IGNORED_SUFFIXES
        and _lists_all(file.read_text(errors="ignore"), contexts)
    }


def _lists_all(text: str, contexts: tuple[str, ...]) -> bool:
    words = [set(re.findall(r"[a-z]+", line.lower())) for line in text.splitlines()]
    return any(set().union(*words[n : n + WINDOW_LINES]) >= set(contexts) for n in range(len(words)))


def test_only_files_with_a_reason_list_all_contexts():
    assert find_listings(ROOT, ALL_CONTEXTS) <= LISTINGS.keys()


@pytest.mark.parametrize("text", ["NAMES = {names}", 'HELP = "one of {names}"', "# {names}"])
@pytest.mark.parametrize("separator", [", ", ",\n"])
def test_a_planted_list_of_contexts_is_found(plant, text, separator):
    tree = plant("ops.planted", text.format(names=separator.join(ALL_CONTEXTS)))
    assert find_listings(tree, ALL_CONTEXTS) - LISTINGS.keys() == {"ops/planted.py"}


def test_names_of_contexts_far_apart_are_no_list(plant):
    tree = plant("ops.planted", ("\n" * WINDOW_LINES).join(ALL_CONTEXTS))
    assert find_listings(tree, ALL_CONTEXTS) <= LISTINGS.keys()


def test_the_registry_and_the_context_map_have_the_same_contexts():
    assert sorted(list_callers_first()) == sorted(list_callees_first()) == list(ALL_CONTEXTS)


def test_a_folder_with_an_app_is_a_context_and_any_other_is_none(tree):
    for name, file in (("shipping", "apps.py"), ("drafts", "notes.md")):
        (tree / "contexts" / name).mkdir()
        (tree / "contexts" / name / file).touch()
    assert find_contexts(tree / "contexts") == tuple(sorted((*ALL_CONTEXTS, "shipping")))


@pytest.mark.parametrize("context", ALL_CONTEXTS)
def test_a_context_has_a_configuration_and_urls(context):
    assert isinstance(get_context_config(context), ContextConfig)
    assert get_context_config(context).build_urlpatterns()


def test_an_app_without_a_context_configuration_is_refused():
    with pytest.raises(ImproperlyConfigured, match="has to define a subclass"):
        get_context_config("ops")


@pytest.fixture
def declare(tmp_path, monkeypatch):
    """Write settings.py of contexts in a package of its own, and collect the settings."""

    def declare(taken=(), **texts):
        for context in ALL_CONTEXTS:
            folder = tmp_path / "planted" / context
            folder.mkdir(parents=True)
            (folder / "__init__.py").touch()
            if context in texts:
                (folder / "settings.py").write_text(texts[context])
        return collect_context_settings(ALL_CONTEXTS, taken, package="planted")

    monkeypatch.syspath_prepend(tmp_path)
    yield declare
    for name in [name for name in sys.modules if name.partition(".")[0] == "planted"]:
        del sys.modules[name]


def test_settings_of_contexts_are_collected(declare):
    declared = declare(orders="HOLD = 1\nfrom shop.settings import env\n", users="TOKEN = 2\n")
    assert declared == {"HOLD": 1, "TOKEN": 2}


def test_two_contexts_cannot_declare_the_same_setting(declare):
    with pytest.raises(ImproperlyConfigured, match=r"planted\.users\.settings sets HOLD, which is set elsewhere"):
        declare(orders="HOLD = 1\n", users="HOLD = 2\n")


def test_a_context_cannot_override_a_shared_setting(declare):
    with pytest.raises(ImproperlyConfigured, match=r"planted\.orders\.settings sets DEBUG"):
        declare(taken={"DEBUG"}, orders="DEBUG = True\n")


def test_the_settings_of_a_context_are_django_settings():
    assert settings.PAYMENT_PROVIDERS
    assert settings.AUTH_USER_MODEL == "users.User"
