"""The hooks of pre-commit run the commands of `make lint`, and check the commit message."""

import yaml

from tests.repository.makefile import ROOT, commands, copy_with

HOOKS = [
    hook for repo in yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"] for hook in repo["hooks"]
]
LINT = [hook for hook in HOOKS if "stages" not in hook]
MESSAGE = [hook for hook in HOOKS if hook.get("stages") == ["commit-msg"]]


def test_the_hooks_run_the_commands_of_lint():
    assert [hook["entry"] for hook in LINT] == commands("lint")


def test_a_command_of_lint_without_a_hook_is_found(tmp_path):
    copy = copy_with(tmp_path, "\nlint: planted\nplanted:\n\t$(VENV)/bin/planted --check\n")
    assert [hook["entry"] for hook in LINT] != commands("lint", folder=copy)


def test_the_hooks_check_the_whole_tree_like_lint():
    for hook in LINT:
        assert (hook["pass_filenames"], hook["always_run"], hook["language"]) == (False, True, "system")


def test_one_hook_checks_the_message_of_a_commit():
    assert [hook["entry"] for hook in MESSAGE] == [".venv/bin/python .github/check_commit_message.py"]
    assert len(LINT) + len(MESSAGE) == len(HOOKS)
