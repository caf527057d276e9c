"""The planted bugs themselves: that they still apply, name tests that exist, and count as caught for the right reason only."""

import shutil

import pytest

from tests.mutants.__main__ import pytest as run_pytest
from tests.mutants.__main__ import why_not_caught
from tests.mutants.planted import PATCHES, ROOT, Mutant, mutants, problems

AT_LEAST = 80


def test_every_planted_bug_applies_and_names_a_test():
    assert problems() == []


def test_there_are_many_of_them():
    assert len(mutants()) >= AT_LEAST


def test_every_context_and_the_kernel_have_some():
    changed = {"/".join(hunk.file.split("/")[: 1 + hunk.file.startswith("contexts/")]) for m in mutants() for hunk in m.hunks}
    assert changed >= {"shop", *(f"contexts/{name}" for name in ("orders", "inventory", "payments", "users", "notifications"))}


PATCH = """\
# what: the relay takes no pauses
# rule: hand-overs are repeated with backoff
# caught by: tests/shop/test_relay.py::test_hand_overs_back_off_up_to_ten_seconds
--- a/shop/relay.py
+++ b/shop/relay.py
@@ -1,2 +1,2 @@
 BATCH = 50
-PATIENCE = 2.0
+PATIENCE = 0.0
"""


@pytest.fixture
def planted(tmp_path):
    """What is found wrong with the patch above, after some of its text has become other text."""
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "relay.py").write_text('"""Relay."""\n\nBATCH = 50\nPATIENCE = 2.0\n')
    shutil.copytree(ROOT / "tests" / "shop", tmp_path / "tests" / "shop")

    def look(before="", after=""):
        (tmp_path / "pauses.patch").write_text(PATCH.replace(before, after))
        return problems(tmp_path, tmp_path)

    return look


def test_a_good_patch_is_found_good(planted):
    assert planted() == []


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        ("BATCH = 50", "BATCH = 60", "what it changes is 0 times in shop/relay.py"),
        ("shop/relay.py", "shop/rely.py", "there is no shop/rely.py"),
        ("PATIENCE = 0.0", "PATIENCE =", "invalid syntax (<unknown>, line 4)"),
        ("::test_hand", "::test_had", "there is no test tests/shop/test_relay.py::test_had_overs_back_off_up_to_ten_seconds"),
        ("# rule:", "# role:", "has no rule"),
        ("@@ -1,2 +1,2 @@", "", "has no change"),
        ("@@ -1,2 +1,2 @@", "@@ -1,3 +1,3 @@", "is cut off"),
    ],
)
def test_a_patch_that_has_rotted_is_found(planted, before, after, problem):
    assert planted(before, after) == [f"pauses: {problem}"]


def test_a_bug_in_a_test_is_none(planted):
    found = planted("shop/relay.py\n@@ -1,2 +1,2 @@\n BATCH = 50\n-PATIENCE = 2.0\n+PATIENCE = 0.0\n",
                    "tests/shop/__init__.py\n@@ -0,0 +1 @@\n+# nothing\n")  # fmt: skip
    assert found == ["pauses: changes tests/shop/__init__.py, which is not the product's"]


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
    """Run tests that end in every way, in a folder of their own."""
    folder = tmp_path_factory.mktemp("ends")
    (folder / "test_ends.py").write_text(TESTS)
    (folder / "test_broken.py").write_text("import no_such_module\n\n\ndef test_never_runs(): pass\n")
    return lambda test: run_pytest(folder, [test], url="", patience=120, options=["-p", "no:django"])


@pytest.fixture(scope="module")
def ended(run):
    return run("test_ends.py")


def caught_by(test, fails_with=""):
    return Mutant("x", "", "", test, fails_with, ())


@pytest.mark.parametrize(
    ("test", "fails_with", "why"),
    [
        ("test_asserts", "", ""),
        ("test_expects", "", ""),
        ("test_raises", "LookupError", ""),
        ("test_raises", "", "it does not fail as foretold, but: LookupError: gone"),
        ("test_asserts", "LookupError", "it does not fail as foretold, but: assert 1 == 2"),
        ("test_needs", "", "it does not fail as foretold, but:"),
        ("test_passes", "", "it does not fail as foretold, but:"),
    ],
)
def test_a_bug_is_caught_only_where_its_own_test_failed_as_foretold(ended, test, fails_with, why):
    found = why_not_caught(caught_by(f"test_ends.py::{test}", fails_with), ended)
    assert found.startswith(why) and bool(found) == bool(why)


@pytest.mark.parametrize(
    ("test", "why"),
    [
        ("test_ends.py::test_passes", "it passes"),
        ("test_ends.py::test_is_not_there", "it did not run to its end (pytest's exit status is 4)"),
        ("test_broken.py::test_never_runs", "it did not run to its end (pytest's exit status is 4)"),
    ],
)
def test_a_bug_is_not_caught_by_a_test_that_passes_or_does_not_run(run, test, why):
    assert why_not_caught(caught_by(test), run(test)).startswith(why)


def test_patches_lie_beside_this_file():
    assert {file.stem for file in PATCHES.glob("*.patch")} == {mutant.name for mutant in mutants()}
