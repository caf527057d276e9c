"""Every context has owners in .github/CODEOWNERS; its public files have the architects as well."""

import re
from fnmatch import fnmatch

import pytest
from django.conf import settings

TEXT = (settings.BASE_DIR / ".github" / "CODEOWNERS").read_text()
CONTEXTS = sorted(file.parent.name for file in settings.BASE_DIR.glob("contexts/*/interface.py"))


def rules(text=TEXT):
    lines = [line.split() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(pattern, owners) for pattern, *owners in lines]


def owners_of(path, text=TEXT):
    """Return the owners of a file: those of the last pattern that matches it."""
    matching = [owners for pattern, owners in rules(text) if pattern == "*" or fnmatch(f"/{path}", _glob(pattern))]
    return matching[-1]


def _glob(pattern):
    return f"{pattern}*" if pattern.endswith("/") else pattern


@pytest.mark.parametrize("context", CONTEXTS)
def test_a_context_and_its_tests_belong_to_its_team(context):
    team = [f"@satsuma-shop/{context}"]
    assert owners_of(f"contexts/{context}/models/things.py") == team
    assert owners_of(f"tests/{context}/test_things.py") == team


@pytest.mark.parametrize("context", CONTEXTS)
def test_the_public_files_of_a_context_belong_to_its_team_and_the_architects(context):
    for file in ("interface.py", "events.py"):
        assert owners_of(f"contexts/{context}/{file}") == [f"@satsuma-shop/{context}", "@satsuma-shop/architecture"]


@pytest.mark.parametrize("context", CONTEXTS)
def test_a_context_without_a_line_would_be_found(context):
    without = "\n".join(line for line in TEXT.splitlines() if f"/{context}/" not in line)
    assert owners_of(f"contexts/{context}/models/things.py", without) == ["@satsuma-shop/maintainers"]


def test_no_line_names_a_context_that_does_not_exist():
    assert {pattern.split("/")[2] for pattern, _ in rules() if pattern.startswith("/contexts/")} == set(CONTEXTS)


def test_every_line_has_an_absolute_pattern_and_owners():
    for pattern, owners in rules():
        assert pattern == "*" or pattern.startswith("/")
        assert owners
        assert all(re.fullmatch(r"@[\w-]+/[\w-]+", owner) for owner in owners)
