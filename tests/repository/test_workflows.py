"""The files that GitHub reads follow their schemas; the workflow has few rights and runs the targets of the Makefile."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.repository.makefile import ROOT, targets

GITHUB = ROOT / ".github"
WORKFLOWS = sorted(GITHUB.glob("workflows/*.yml"))
CI = GITHUB / "workflows" / "ci.yml"
FORMS = sorted(file for file in GITHUB.glob("ISSUE_TEMPLATE/*.yml") if file.name != "config.yml")
FILES = [
    *(("vendor.github-workflows", file) for file in WORKFLOWS),
    *(("custom.github-workflows-require-timeout", file) for file in WORKFLOWS),
    *(("vendor.github-issue-forms", file) for file in FORMS),
    ("vendor.github-issue-config", GITHUB / "ISSUE_TEMPLATE" / "config.yml"),
    ("vendor.dependabot", GITHUB / "dependabot.yml"),
]
MISTAKES = [
    ("vendor.github-workflows", CI, "runs-on:", "run-on:"),
    ("custom.github-workflows-require-timeout", CI, "timeout-minutes: 5\n", "\n"),
    ("vendor.github-issue-forms", GITHUB / "ISSUE_TEMPLATE" / "bug.yml", "type: textarea", "type: text"),
    ("vendor.github-issue-config", GITHUB / "ISSUE_TEMPLATE" / "config.yml", "about:", "abuot:"),
    ("vendor.dependabot", GITHUB / "dependabot.yml", "interval: weekly", "interval: sometimes"),
]
PINNED = re.compile(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+")
SCANS = {
    "dependencies": "make audit",
    "secrets": "trufflesecurity/trufflehog@",
    "image": "anchore/scan-action@",
}


def validate(schema, file):
    program = Path(sys.executable).with_name("check-jsonschema")
    command = [program, "--builtin-schema", schema, file]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def jobs(file):
    return yaml.safe_load(file.read_text())["jobs"]


def steps(file):
    return [step for job in jobs(file).values() for step in job["steps"]]


@pytest.mark.parametrize(("schema", "file"), FILES, ids=[f"{file.name} {schema}" for schema, file in FILES])
def test_a_file_follows_its_schema(schema, file):
    done = validate(schema, file)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("schema", "file", "right", "wrong"), MISTAKES, ids=[schema for schema, *_ in MISTAKES])
def test_a_planted_mistake_is_found(schema, file, right, wrong, tmp_path):
    text = file.read_text()
    assert right in text
    planted = tmp_path / file.name
    planted.write_text(text.replace(right, wrong, 1))
    assert validate(schema, planted).returncode == 1


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_an_action_is_pinned_to_a_commit_and_names_its_version(file):
    actions = re.findall(r"uses: (.*)", file.read_text())
    assert len(actions) == len([step for step in steps(file) if "uses" in step]) > 0
    assert [action for action in actions if not PINNED.fullmatch(action)] == []


@pytest.mark.parametrize(
    "action",
    [
        "actions/checkout@v7",
        "actions/checkout@main",
        "actions/checkout",
        "actions/checkout@v7.0.1",
        "actions/checkout@3d3c42e  # v7.0.1",
        f"actions/checkout@{'3' * 40}",
        f"actions/checkout@{'3' * 40}  # v7",
    ],
)
def test_an_action_that_can_change_is_not_pinned(action):
    assert not PINNED.fullmatch(action)


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_a_workflow_may_only_read_the_code(file):
    assert yaml.safe_load(file.read_text())["permissions"] == {"contents": "read"}
    assert [name for name, job in jobs(file).items() if "permissions" in job] == []
    assert "secrets." not in file.read_text()
    checkouts = [step for step in steps(file) if step.get("uses", "").startswith("actions/checkout@")]
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_a_command_contains_no_text_of_a_pull_request(file):
    """A title or a branch name in a command would be run by the shell; pass it in the environment."""
    assert [step["run"] for step in steps(file) if "${{ github." in step.get("run", "")] == []


def test_the_workflow_runs_targets_that_exist():
    text = CI.read_text().replace("${{ matrix.topology }}", "local")
    named = set(re.findall(r"\bmake ([a-z-]+)", text))
    assert named == {"style", "boundaries", "types", "test-local", "test-clients", "audit", "sbom"}
    assert named <= targets()


def test_the_suite_runs_in_every_topology():
    topologies = jobs(CI)["test"]["strategy"]["matrix"]["topology"]
    assert {f"test-{topology}" for topology in topologies} == {"test-local", "test-loopback", "test-split"} <= targets()


def test_one_version_of_an_action_is_one_commit():
    """A version with another commit is a mistake of an update, or a commit that only pretends to be that version."""
    named = set(re.findall(r"uses: (\S+)@([0-9a-f]{40})  # (\S+)", "".join(file.read_text() for file in WORKFLOWS)))
    assert len(named) == len({(action, version) for action, _, version in named}) == len({a for a, _, _ in named})


def runs(workflow, job):
    return "\n".join(step.get("uses", "") + step.get("run", "") for step in workflow["jobs"][job]["steps"])


def find_missing_scans(workflow):
    found = [job for job, scan in SCANS.items() if scan not in runs(workflow, job)]
    triggers = workflow[True]  # YAML reads `on` as a boolean
    return found + [trigger for trigger in ("pull_request", "push", "schedule") if trigger not in triggers]


def test_dependencies_image_and_history_are_scanned_on_every_change_and_every_week():
    workflow = yaml.safe_load(CI.read_text())
    assert find_missing_scans(workflow) == []
    assert not any("continue-on-error" in step for job in SCANS for step in workflow["jobs"][job]["steps"])


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("make audit", "dependencies"),
        ("trufflesecurity/", "secrets"),
        ("anchore/scan", "image"),
        ("schedule", "schedule"),
    ],
)
def test_a_missing_scan_is_found(text, missing):
    assert find_missing_scans(yaml.safe_load(CI.read_text().replace(text, "other"))) == [missing]


def test_bills_of_materials_of_the_packages_and_the_image_are_kept():
    workflow = yaml.safe_load(CI.read_text())
    assert "make sbom" in runs(workflow, "dependencies") and "actions/upload-artifact@" in runs(
        workflow, "dependencies"
    )
    assert "anchore/sbom-action@" in runs(workflow, "image")
    [image] = [step for step in workflow["jobs"]["image"]["steps"] if "sbom-action" in step.get("uses", "")]
    assert image["with"]["format"] == "cyclonedx-json"


def test_lint_contains_the_rules_of_bandit():
    assert "S" in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]["select"]


def test_the_commits_of_a_pull_request_are_checked_by_the_script_of_the_hook():
    runs = [step["run"] for step in jobs(CI)["commits"]["steps"] if "run" in step]
    script = ".github/check_commit_message.py"
    assert len(runs) == 1
    assert runs[0].endswith(f"python3 {script} -")
    assert (ROOT / script).is_file()
