"""The planted bugs: they apply, name tests that exist, and count as caught only if the test fails for the right reason."""

from dataclasses import replace

import pytest

from tests.mutants.__main__ import pytest as run_pytest
from tests.mutants.__main__ import why_not_caught
from tests.mutants.planted import Change, Mutant, mutants, problems

MIN_COUNT = 130


def test_every_planted_bug_applies_and_names_a_test():
    assert problems(mutants()) == []


def test_there_are_many_of_them():
    assert len(mutants()) >= MIN_COUNT


def test_the_kernel_and_every_context_have_some(settings):
    modules = [change.module for mutant in mutants() for change in mutant.changes]
    for package in ("shop", *(f"contexts.{context}" for context in settings.ALL_CONTEXTS)):
        assert any(module.startswith(f"{package}.") for module in modules), package


GOOD = Mutant(
    name="relay_takes_no_pauses",
    what="the relay does not pause between batches",
    rule="deliveries are repeated with backoff",
    module="shop.relay",
    replace="PAUSE = 2.0",
    by="PAUSE = 0.0",
    caught_by="tests/shop/test_relay_example.py::test_deliveries_back_off",
)


@pytest.fixture
def tree(tmp_path):
    """Create a tree with a module, another one that has the same line twice, and a test."""
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "relay.py").write_text("BATCH = 50\nPAUSE = 2.0\n")
    (tmp_path / "shop" / "inbox.py").write_text("PAUSE = 2.0\nPAUSE = 2.0\n")
    (tmp_path / "tests" / "shop").mkdir(parents=True)
    (tmp_path / "tests" / "shop" / "test_relay_example.py").write_text("\ndef test_deliveries_back_off():\n    pass\n")
    return tmp_path


def test_a_good_mutant_has_no_problem(tree):
    assert problems([GOOD], tree) == []


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"replace": "PAUSE = 3.0"}, "the text to replace occurs 0 times in shop/relay.py"),
        ({"module": "shop.inbox"}, "the text to replace occurs 2 times in shop/inbox.py"),
        ({"also": (Change("shop.inbox", "PAUSE", ""),)}, "the text to replace occurs 2 times in shop/inbox.py"),
        ({"module": "shop.rely"}, "there is no shop/rely.py"),
        ({"by": "PAUSE ="}, "invalid syntax (<unknown>, line 2)"),
        ({"by": "PAUSE = 2.0"}, "changes nothing"),
        ({"caught_by": "tests/shop/test_relay_example.py::test_deliv"},
         "there is no test tests/shop/test_relay_example.py::test_deliv"),
        ({"module": "tests.shop.test_relay_example", "replace": "pass", "by": "return"},
         "changes tests.shop.test_relay_example, which is not part of the product"),
    ],
)  # fmt: skip
def test_an_outdated_mutant_is_reported(tree, changed, problem):
    assert problems([replace(GOOD, **changed)], tree) == [f"relay_takes_no_pauses: {problem}"]


def test_two_mutants_cannot_have_the_same_name(tree):
    assert problems([GOOD, GOOD], tree) == ["relay_takes_no_pauses: the name is taken"]


TESTS = """
def test_passes(): pass
def test_asserts(): assert 1 == 2
def test_expects():
    import pytest
    with pytest.raises(ValueError): pass
def test_raises(): raise LookupError("gone")
def test_needs(no_such_fixture): pass
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return a function that runs tests with every kind of outcome, in a folder of their own."""
    folder = tmp_path_factory.mktemp("ends")
    (folder / "test_ends.py").write_text(TESTS)
    (folder / "test_broken.py").write_text("import no_such_module\n\n\ndef test_never_runs(): pass\n")
    return lambda test: run_pytest(folder, [test], url="", timeout=300, options=["-p", "no:django"])


@pytest.fixture(scope="module")
def ended(run):
    return run("test_ends.py")


def caught_by(test, fails_with=""):
    return replace(GOOD, caught_by=test, fails_with=fails_with)


@pytest.mark.parametrize(
    ("test", "fails_with", "why"),
    [
        ("test_asserts", "", ""),
        ("test_expects", "", ""),
        ("test_raises", "LookupError", ""),
        ("test_raises", "", "it does not fail as declared, but with: LookupError: gone"),
        ("test_asserts", "LookupError", "it does not fail as declared, but with: assert 1 == 2"),
        ("test_needs", "", "it does not fail as declared, but with:"),
        ("test_passes", "", "it does not fail as declared, but with:"),
    ],
)
def test_a_bug_is_caught_only_if_its_own_test_failed_as_declared(ended, test, fails_with, why):
    found = why_not_caught(caught_by(f"test_ends.py::{test}", fails_with), ended)
    assert found.startswith(why) and bool(found) == bool(why)


@pytest.mark.parametrize(
    ("test", "why"),
    [
        ("test_ends.py::test_passes", "it passes"),
        ("test_ends.py::test_is_not_there", "it was not completed (the exit status of pytest is 4)"),
        ("test_broken.py::test_never_runs", "it was not completed (the exit status of pytest is 4)"),
    ],
)
def test_a_bug_is_not_caught_by_a_test_that_passes_or_does_not_run(run, test, why):
    assert why_not_caught(caught_by(test), run(test)).startswith(why)
