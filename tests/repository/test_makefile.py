"""`make help` lists every target, `make test` begins with `make lint`, and documents describe targets that exist."""

import re
import shutil
import subprocess

import pytest

from tests.repository.makefile import ENVIRONMENT, ROOT, commands, copy_with, make, targets

LINT = ["ruff check", "ruff format --check", "lint-imports", "python -m tests.architecture.vocabulary", "mypy"]
GUIDES = [str(path.relative_to(ROOT)) for path in sorted((ROOT / "docs").glob("**/*.md"))]
DOCUMENTS = ["README.md", "CONTRIBUTING.md", "SECURITY.md", ".github/PULL_REQUEST_TEMPLATE.md", *GUIDES]
INDEX = ROOT / "docs" / "development" / "index.md"


def listed(folder=ROOT):
    return set(re.findall(r"^  make ([a-z-]+)", make("help", folder=folder), re.MULTILINE))


def test_help_lists_every_target():
    assert listed() == targets()


def test_a_target_without_a_help_text_is_found(tmp_path):
    copy = copy_with(tmp_path, "\nplanted:\n\t@true\n")
    assert targets(copy) - listed(copy) == {"planted"}


def described(text):
    """Return the table of targets in a document, in the format of `make help`."""
    return re.findall(r"^\| `make ([a-z-]+)` \| (.+) \|$", text, re.MULTILINE)


def test_the_index_describes_every_target_as_help_does():
    assert described(INDEX.read_text()) == re.findall(r"^  make ([a-z-]+) +(.+)$", make("help"), re.MULTILINE)


def test_a_target_that_the_index_lacks_or_describes_otherwise_is_found():
    text = INDEX.read_text()
    assert described(text.replace("| `make types` |", "| `make typos` |")) != described(text)
    assert described(text.replace("check types with mypy", "check types")) != described(text)


def test_help_is_the_default():
    assert make() == make("help")


def test_no_file_can_shadow_a_target():
    phony = re.search(r"^\.PHONY:(.*?[^\\])$", (ROOT / "Makefile").read_text(), re.MULTILINE | re.DOTALL)[1]
    assert set(phony.replace("\\\n", " ").split()) == targets()


def test_lint_runs_each_static_check():
    found = commands("lint")
    assert len(found) == len(LINT)
    assert all(f".venv/bin/{check}" in command for check, command in zip(LINT, found, strict=True))


def test_lint_installs_the_test_tools_and_nothing_else(tmp_path):
    copy = copy_with(tmp_path, "")
    shutil.copytree(ROOT / "requirements", copy / "requirements")
    installed = [line for line in make("--dry-run", "lint", folder=copy).splitlines() if "pip install" in line]
    assert len(installed) == 1
    assert installed[0].endswith("--require-hashes -r requirements/dev.txt")


def bindings(command):
    """Return the bindings of the parts that a command runs side by side, in alphabetical order."""
    return sorted(re.findall(r"TRANSPORT=(\w+)", command))


def suites(*arguments):
    return [line for line in commands(*arguments) if "pytest" in line]


def test_the_suite_begins_with_lint_and_runs_in_every_topology():
    lint = commands("lint")
    assert commands("test")[: len(lint)] == lint
    for options in ((), ("BINDINGS=both",), ("ALL=1",)):
        assert [bindings(suite) for suite in suites("test", *options)] == [["local", "loopback", "remote"]]


def pytest_paths(command, binding):
    [options] = re.findall(rf"TRANSPORT={binding} \S+ -m pytest([^>&]*)", command)
    return set(options.split())


@pytest.mark.parametrize("binding", ["local", "loopback"])
def test_what_the_suite_leaves_out_is_what_the_tests_of_systems_run(binding):
    [suite], [systems] = suites("test", "BINDINGS=both"), suites("test-system")
    paths = pytest_paths(systems, binding)
    assert pytest_paths(suite, binding) == {f"--ignore={path}" for path in paths}
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_what_one_binding_leaves_out_the_other_one_runs():
    left_out = {}
    for binding in ("local", "loopback"):
        more, fewer = (pytest_paths(suites("test", *options)[0], binding) for options in ((), ("BINDINGS=both",)))
        left_out[binding] = more - fewer
        assert fewer <= more
        assert left_out[binding]
    assert not left_out["local"] & left_out["loopback"]


def test_all_leaves_no_test_out():
    [everything] = suites("test", "ALL=1")
    assert [pytest_paths(everything, binding) for binding in ("local", "loopback")] == [set(), set()]


def test_hosted_and_local_checks_run_both_bindings():
    assert (ROOT / ".ci" / "run").read_text().splitlines()[-1] == "exec make test BINDINGS=both"


def test_with_pytest_options_both_bindings_run_and_the_part_in_five_processes_does_not():
    suite = commands("test", "ARGS=tests/orders -x")
    assert [line.count("pytest tests/orders -x") for line in suite if "pytest" in line] == [2]
    assert not any("TRANSPORT=remote" in line for line in suite)


@pytest.mark.parametrize(("target", "parts"), [("test", 3), ("test-system", 2)])
@pytest.mark.parametrize("failing", ["none", "loopback", "local", "remote"])
def test_the_suite_fails_if_a_part_of_it_fails(tmp_path, target, parts, failing):
    copy = copy_with(tmp_path, "")
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\necho ran $TRANSPORT\n[ $TRANSPORT != {failing} ]\n")
    python.chmod(0o755)
    run = ["make", "--old-file=.venv/dev.stamp", "-o", "lint", f"RUN={python}", target]
    done = subprocess.run(run, cwd=copy, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    ran = re.findall(r"^ran ([a-z]+)$", done.stdout, re.MULTILINE)
    assert ran == ["loopback", "local", "remote"][:parts]
    assert done.returncode == (2 if failing in ran else 0), done.stderr


@pytest.mark.parametrize("target", ["test", "test-system", "test-local", "test-loopback", "test-split"])
def test_the_processes_of_the_suite_compile_each_module_once(tmp_path, target):
    copy = copy_with(tmp_path, "")
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "without bytecode: [$PYTHONDONTWRITEBYTECODE]"\n')
    python.chmod(0o755)
    run = ["make", "--old-file=.venv/dev.stamp", "-o", "lint", f"RUN={python}", target]
    environment = ENVIRONMENT | {"PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(run, cwd=copy, env=environment, capture_output=True, text=True, check=True)
    assert set(re.findall("without bytecode: .*", done.stdout)) == {"without bytecode: []"}


def test_one_folder_runs_with_local_binding_and_without_lint():
    found = commands("test", "C=orders", "ARGS=-x")
    assert not any(check in line for check in LINT for line in found)
    assert any(line.startswith("TRANSPORT=local .venv/bin/python -m pytest tests/orders -x") for line in found)


def test_one_folder_runs_with_the_binding_that_is_asked_for():
    found = commands("test", "C=orders", "TRANSPORT=loopback")
    assert any(line.startswith("TRANSPORT=loopback .venv/bin/python -m pytest tests/orders") for line in found)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_document_names_only_targets_that_exist(document):
    assert named((ROOT / document).read_text()) <= targets()


def test_a_document_that_names_a_missing_target_is_found():
    assert named("Run `make planted`, then:\n\n```sh\nmake other ARGS=-x\n```\n") == {"planted", "other"}


def named(document):
    return set(re.findall(r"(?:^|`)make ([a-z-]+)", document, re.MULTILINE))
