"""The documents of the repository match its tree: links, paths, titles, license."""

import hashlib
import re
import tomllib

import pytest

from tests.repository.documents import (
    ROOT,
    find_broken_links,
    find_missing_paths,
    find_unexported_variables,
    find_unlisted_folders,
    find_wrong_titles,
    list_anchors,
    list_documents,
)

APACHE_2_0 = (
    "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"  # SHA-256 of apache.org/licenses/LICENSE-2.0.txt
)


def test_the_license_is_the_full_text_of_apache_2_0():
    assert hashlib.sha256((ROOT / "LICENSE").read_bytes()).hexdigest() == APACHE_2_0


def test_the_package_names_its_license():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (project["license"], project["license-files"]) == ("Apache-2.0", ["LICENSE"])


def test_contributing_leads_from_the_clone_to_a_green_run():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    commands = re.findall(r"^(git clone|make [a-z-]+(?: C=\w+)?|pre-commit install)", text, re.MULTILINE)
    assert commands[:3] == ["git clone", "make test", "make test C=orders"]
    assert commands[-1] == "make test"


@pytest.mark.parametrize("document", list_documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_links_and_paths_of_a_document_exist(document):
    assert find_broken_links(document) == []
    assert find_missing_paths(document) == []
    assert find_unexported_variables(document) == []


def test_the_index_lists_every_folder():
    assert find_unlisted_folders(ROOT / "docs" / "development" / "index.md") == []


def test_every_decision_has_a_numbered_title():
    assert find_wrong_titles(ROOT / "docs" / "adr") == []


def test_a_folder_that_the_index_lacks_is_found(tmp_path):
    for name in ("shop/db", "shop/calls", "contexts/orders", "tests/orders", "tests/fuzz", "bench"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "module.py").touch()
    page = tmp_path / "index.md"
    page.write_text(
        "| `shop/db` | leases |\n| `contexts/orders` | carts |\n| `tests/<context>` | like `tests/fuzz` |\n"
    )
    assert find_unlisted_folders(page, tmp_path) == ["bench", "shop/calls", "tests/fuzz"]


@pytest.fixture
def tree(tmp_path):
    """Create a tree with one module and two documents."""
    for name in ("docs", "shop/db"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "shop" / "db" / "leases.py").touch()
    (tmp_path / "docs" / "other.md").write_text("# Other page\n\n## What to do, in short\n\n```sh\n# a comment\n```\n")
    (tmp_path / "docs" / "page.md").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("link", "is_broken"),
    [
        ("other.md", False),
        ("../shop/db/", False),
        ("other.md#what-to-do-in-short", False),
        ("#own", False),
        ("https://example.com/missing.md", False),
        ("missing.md", True),
        ("shop/db/", True),
        ("other.md#what-to-do", True),
        ("other.md#a-comment", True),
        ("#other-page", True),
    ],
)
def test_a_link_without_a_target_is_found(tree, link, is_broken):
    page = tree / "docs" / "page.md"
    page.write_text(f"# Own\n\nSee [this]({link}).\n")
    assert find_broken_links(page) == ([link] if is_broken else [])


@pytest.mark.parametrize(
    ("code", "missing"),
    [
        ("shop/db/leases.py", []),
        ("shop/<layer>/leases.py", []),
        ("shop/*/leases.py", []),
        ("shop/db", []),
        ("python -m pytest shop/db/leases.py::test_it -x", []),
        (".data/shop/missing.py", []),
        ("shop/db/lease.py", ["shop/db/lease.py"]),
        ("shop/<layer>/lease.py", ["shop/<layer>/lease.py"]),
        ("shop/*/lease.py", ["shop/*/lease.py"]),
        ("make test ARGS=tests/missing", ["tests/missing"]),
    ],
)
def test_a_path_that_does_not_exist_is_found(tree, code, missing):
    page = tree / "docs" / "page.md"
    page.write_text(f"Open `{code}`.\n\n```sh\ncat shop/in_a_code_block.py\n```\n")
    assert find_missing_paths(page, tree) == missing


@pytest.mark.parametrize(
    ("name", "title", "is_wrong"),
    [
        ("0001-a-rule.md", "# 1. A rule", False),
        ("0001-a-rule.md", "# 2. A rule", True),
        ("0001-a-rule.md", "# A rule", True),
        ("0001-a-rule.md", "# 1. A rule.", True),
        ("0001-a-rule.md", "1. A rule", True),
        ("0002-a-rule.md", "# 2. A rule", True),
        ("a-rule.md", "# 1. A rule", True),
    ],
)
def test_a_decision_with_another_title_is_found(tmp_path, name, title, is_wrong):
    (tmp_path / name).write_text(f"{title}\n\n**Context.** …\n")
    assert find_wrong_titles(tmp_path) == ([name] if is_wrong else [])


def test_anchors_are_those_of_github(tree):
    assert list_anchors(tree / "docs" / "other.md") == ["other-page", "what-to-do-in-short"]


@pytest.mark.parametrize(
    ("line", "is_found"),
    [
        ("ENGINE=celery BROKER_URL=redis://broker:6379/0     # or rediss://", True),
        ("ORDERS_URL=http://orders:8001 INVENTORY_URL=http://inventory:8001 …   # the same", True),
        ("export ENGINE=celery BROKER_URL=redis://broker:6379/0", False),
        ("CONTEXTS=inventory PORT=8000 python -m ops.launch.serve", False),
        ("TO=$(cat file)", False),
    ],
)
def test_a_variable_that_no_command_gets_is_found(tmp_path, line, is_found):
    page = tmp_path / "page.md"
    page.write_text(f"```sh\n{line}\nrun\n```\n")
    assert find_unexported_variables(page) == ([line] if is_found else [])
