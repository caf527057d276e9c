"""The check of commit messages accepts good ones and names what is wrong with others."""

import subprocess
import sys

import pytest

from tests.repository.makefile import ROOT

SCRIPT = ROOT / ".github" / "check_commit_message.py"

ACCEPTED = [
    "orders: reject carts over the item limit",
    "orders: Reject carts over the item limit",
    "shop/calls: add a deadline\n\nWithout one, a caller waits for a callee that has died.\n",
    "api-docs: focus on errors",
    "inventory: seed 257 products",
    "ops: process messages in batches",
    "docs: explain why `make up` needs no database",
    "a: " + "b" * 69,  # 72 characters
    "Merge branch 'main' into orders",
    "Merge pull request #12 from someone/a-branch-with-a-name-that-is-longer-than-the-limit-of-a-subject",
]

REFUSED = [
    ("", "not `area: imperative sentence`"),
    ("reject carts over the item limit", "not `area: imperative sentence`"),
    ("Orders: reject carts over the item limit", "not `area: imperative sentence`"),
    ("orders reject: carts", "not `area: imperative sentence`"),
    ("orders:reject carts", "not `area: imperative sentence`"),
    ("orders: ", "not `area: imperative sentence`"),
    ("Merge: two branches that fit", "not `area: imperative sentence`"),
    ("Mergers: accept offers", "not `area: imperative sentence`"),
    ('Revert "orders: reject carts over the item limit"', "not `area: imperative sentence`"),
    ("orders: rejected carts over the item limit", "'rejected' is not an imperative"),
    ("orders: rejects carts over the item limit", "'rejects' is not an imperative"),
    ("orders: rejecting carts over the item limit", "'rejecting' is not an imperative"),
    ("orders: the cart has an item limit", "'the' is not an imperative"),
    ("orders: wip", "unfinished work"),
    ("orders: reject carts (WIP)", "unfinished work"),
    ("fixup! orders: reject carts over the item limit", "unfinished work"),
    ("orders: reject carts over the item limit.", "full stop"),
    ("orders: reject carts\nover the item limit", "second line is not empty"),
    ("a: " + "b" * 70, "has 73 characters, the limit is 72"),
]


def check(*arguments, text=None):
    return subprocess.run([sys.executable, SCRIPT, *arguments], input=text, capture_output=True, text=True, check=False)


def test_good_messages_are_accepted():
    done = check("-", text="\0".join(ACCEPTED) + "\0")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(("message", "problem"), REFUSED, ids=[message for message, _ in REFUSED])
def test_a_bad_message_is_refused_with_its_problem(message, problem, tmp_path):
    file = tmp_path / "COMMIT_EDITMSG"
    file.write_text(message)
    done = check(file)
    assert done.returncode == 1
    assert problem in done.stderr
    assert "Example: orders: reject carts over the item limit" in done.stderr


def test_one_bad_message_among_good_ones_is_named():
    done = check("-", text="\0".join([*ACCEPTED, "Fixed it", *ACCEPTED]))
    assert done.returncode == 1
    assert done.stderr.splitlines()[0] == "Fixed it"


def test_what_git_drops_from_an_edited_message_does_not_count(tmp_path):
    file = tmp_path / "COMMIT_EDITMSG"
    file.write_text(
        "# A comment of git\norders: reject large carts\n# Changes to be committed:\n"
        "# ------------------------ >8 ------------------------\ndiff --git a/wip b/wip\n"
    )
    assert check(file).returncode == 0


def test_an_empty_range_has_nothing_to_refuse():
    assert check("-", text="").returncode == 0


def test_without_a_source_the_usage_is_printed():
    done = check()
    assert done.returncode == 1
    assert "check_commit_message.py FILE" in done.stderr
