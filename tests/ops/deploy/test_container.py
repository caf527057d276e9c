"""The Dockerfile and the compose files are correct, checked offline; each check has a planted mistake that it finds."""

import ast
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import yaml
from django.conf import settings

from ops.deploy import manifests

ROOT = settings.BASE_DIR
TOOLS = Path(sys.executable).parent
MISTAKES = {
    "DL3002": ("USER 10001:10001", "USER root"),
    "DL3006": (r"python:3\.11-slim-bookworm@sha256:[0-9a-f]{64}", "python"),
    "DL3025": (re.escape('CMD ["python", "-m", "ops.launch.serve"]'), "CMD python -m ops.launch.serve"),
}


def lint(dockerfile):
    return subprocess.run([TOOLS / "hadolint", "-"], input=dockerfile, capture_output=True, text=True, check=False)


def test_the_dockerfile_passes_the_linter():
    done = lint((ROOT / "Dockerfile").read_text())
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("rule", MISTAKES)
def test_a_planted_mistake_in_the_dockerfile_is_found(rule):
    right, wrong = MISTAKES[rule]
    planted, count = re.subn(right, wrong, (ROOT / "Dockerfile").read_text())
    assert count
    done = lint(planted)
    assert done.returncode != 0
    assert rule in done.stdout


def validate(compose):
    command = [TOOLS / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", compose]
    return subprocess.run(command, capture_output=True, text=True, check=False)


COMPOSE, SPLIT = ROOT / "docker-compose.yml", ROOT / "docker-compose.split.yml"


@pytest.mark.parametrize("file", [COMPOSE, SPLIT])
def test_the_compose_file_is_valid(file):
    done = validate(file)
    assert done.returncode == 0, done.stdout


def hosts():
    """Return the services of the split that host a context."""
    return {name: one for name, one in yaml.safe_load(SPLIT.read_text())["services"].items() if "environment" in one}


def test_in_the_split_each_context_has_a_container_that_differs_only_in_its_contexts():
    shop = yaml.safe_load(COMPOSE.read_text())["services"]["shop"]
    assert {name: one["environment"]["CONTEXTS"] for name, one in hosts().items()} == {
        c: c for c in settings.ALL_CONTEXTS
    }
    for name, one in hosts().items():
        different = {"environment", "ports", "volumes"}
        assert {key: one[key] for key in shop.keys() - different} == {
            key: value for key, value in shop.items() if key not in different
        }, name
        secrets = {"SECRET_KEY_FILE", "CREDENTIAL_KEY_FILE", "JWT_SIGNING_KEY_FILE"}
        shared = {name: value for name, value in shop["environment"].items() if name not in secrets}
        assert shared.items() <= one["environment"].items()
        assert "ports" not in one


def test_in_the_split_each_container_has_the_secrets_of_its_context_only():
    for name, one in hosts().items():
        shared, own = one["volumes"]
        assert shared == "shared:/var/lib/satsuma/shared:ro"
        assert (own["source"], own["volume"], own["read_only"]) == ("contexts", {"subpath": name}, True)
        files = {key: file for key, file in one["environment"].items() if key.endswith("_FILE")}
        assert files == {
            "SECRET_KEY_FILE": "/var/lib/satsuma/shared/SECRET_KEY",
            "JWT_PUBLIC_KEYS_FILE": "/var/lib/satsuma/shared/JWT_PUBLIC_KEYS",
            f"{name.upper()}_SECRETS_FILE": f"{own['target']}/SECRETS",
        } | ({"JWT_SIGNING_KEY_FILE": f"{own['target']}/JWT_SIGNING_KEY"} if name == "users" else {})


def test_in_the_split_every_container_has_all_addresses_and_trusts_the_gateway():
    split = yaml.safe_load(SPLIT.read_text())["services"]
    for one in hosts().values():
        environment = one["environment"]
        assert {c: environment[f"{c.upper()}_URL"] for c in settings.ALL_CONTEXTS} == {
            c: f"http://{c}:{environment['INTERNAL_PORT']}" for c in settings.ALL_CONTEXTS
        }
        assert environment["TRUSTED_PROXIES"].startswith(split["gateway"]["networks"]["default"]["ipv4_address"] + "$")
    [routes] = split["gateway"]["volumes"]
    assert (ROOT / routes.split(":")[0]).read_text() == manifests.render_compose_gateway()
    assert split["gateway"]["ports"] == ["127.0.0.1:${PORT:-8000}:8080"]
    assert split["gateway"]["depends_on"].keys() == hosts().keys()


def test_the_guide_describes_every_container():
    guide = (ROOT / "docs" / "deploy.md").read_text().partition("| service |")[2].partition("\n\n")[0]
    described = {
        name
        for line in guide.splitlines()
        for name in re.findall(r"`(\w+)`", line.split("|")[1] if "|" in line else "")
    }
    assert described == set(yaml.safe_load(COMPOSE.read_text())["services"])


def test_a_misspelt_key_in_the_compose_file_is_found(tmp_path):
    planted = tmp_path / "docker-compose.yml"
    planted.write_text((ROOT / "docker-compose.yml").read_text().replace("stop_grace_period", "stop_grace_time", 1))
    done = validate(planted)
    assert done.returncode != 0
    assert "stop_grace_time" in done.stdout


def find_secrets(compose):
    """Find secrets in the file, which may contain only the names of files with secrets."""
    services = yaml.safe_load(compose)["services"]
    values = [(name, str(v)) for service in services.values() for name, v in service.get("environment", {}).items()]
    named = [name for name, _ in values if re.search("SECRET|PASSWORD|KEY", name) and not name.endswith("_FILE")]
    return named + [name for name, value in values if re.search("//.*:.*@", value)]


@pytest.mark.parametrize("file", [COMPOSE, SPLIT])
def test_the_compose_file_contains_no_secret(file):
    assert find_secrets(file.read_text()) == []


def test_a_planted_secret_in_the_compose_file_is_found():
    compose = (ROOT / "docker-compose.yml").read_text()
    file, url = "POSTGRES_PASSWORD_FILE: /run/satsuma/POSTGRES_PASSWORD", "postgres://database:5432"
    assert find_secrets(compose.replace(file, "POSTGRES_PASSWORD: ${PASSWORD:-swordfish}")) == ["POSTGRES_PASSWORD"]
    assert "DATABASE_URL" in find_secrets(compose.replace(url, "postgres://postgres:swordfish@database:5432"))


def test_the_build_context_contains_only_what_the_image_copies():
    copied = re.findall(r"^COPY (?!--from)(\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    ignored = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert ignored[0] == "*"
    assert {line[1:] for line in ignored if line.startswith("!")} == set(copied)
    assert all((ROOT / name).exists() for name in copied)


# Only the settings look for <NAME>_FILE beside each <NAME>, so this finds every setting that they read.
READ_SETTINGS = """
import os
seen = set()
class Recorder(dict):
    def __contains__(self, name):
        seen.add(name)
        return super().__contains__(name)
    def get(self, name, default=None):
        seen.add(name)
        return super().get(name, default)
os.environ = Recorder(os.environ)
import config.settings
print(*(name.removesuffix("_FILE") for name in seen if name.endswith("_FILE")))
"""
LAUNCHERS = ("up", "serve", "prepare", "data_folder")


def read_by_settings():
    done = subprocess.run([sys.executable, "-c", READ_SETTINGS], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def read_by_launcher(source):
    """Return the first argument of each `read_integer(…)` and `os.environ.get(…)`."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call) and node.args]
    readers = [
        call for call in calls if ast.unparse(call.func) in ("read_integer", "serve.read_integer", "os.environ.get")
    ]
    return {call.args[0].value for call in readers if isinstance(call.args[0], ast.Constant)}


def test_only_the_prepare_step_has_the_database_superuser():
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    reached = {name for name, service in services.items() if any("superuser:" in v for v in service.get("volumes", []))}
    assert reached == {"secrets", "database", "prepare"}


def read_by_compose(compose):
    return set(re.findall(r"\$\{([A-Z_]+)", compose))


def test_the_split_reads_no_settings_beyond_the_monolith():
    assert read_by_compose(SPLIT.read_text()) <= all_settings_read()


def names_in_example(example):
    """Return the names at the start of a line, commented out or not; an entry for ORDERS is one for every context."""
    names = set(re.findall(r"^#?([A-Z][A-Z_]+)=", example, re.MULTILINE))
    others = {name.replace("ORDERS", context.upper()) for name in names for context in settings.ALL_CONTEXTS}
    return names | {name for name in others if name.endswith(("_URL", "_CALL_KEYS", "_SECRETS"))}


@cache
def all_settings_read():
    launchers = [(ROOT / "ops" / "launch" / f"{name}.py").read_text() for name in LAUNCHERS]
    compose = read_by_compose((ROOT / "docker-compose.yml").read_text())
    return read_by_settings().union(compose, *map(read_by_launcher, launchers))


def test_the_example_lists_exactly_the_settings_that_are_read():
    assert all_settings_read() == names_in_example((ROOT / ".env.example").read_text())


def test_a_missing_and_an_unused_setting_are_found():
    planted = (ROOT / ".env.example").read_text().replace("CURRENCY", "CURENCY").replace("WEB_WORKERS", "WORKERS")
    assert all_settings_read() ^ names_in_example(planted) == {"CURRENCY", "CURENCY", "WEB_WORKERS", "WORKERS"}


@pytest.fixture
def check_deploy(preloaded_python):
    """Return a function that runs `manage.py check --deploy`, for which warnings are failures."""
    secret = "".join(chr(33 + n) for n in range(60)).replace("$", "_")
    return lambda **environment: preloaded_python.run(
        "manage.py", "check", "--deploy", "--fail-level", "WARNING",
        environment=os.environ | {"SECRET_KEY": secret} | environment,
    )  # fmt: skip


def test_a_shop_behind_https_is_deployed_without_a_warning(check_deploy):
    done = check_deploy(SITE_URL="https://shop.example", TRUSTED_PROXIES="172.18.0.0/16", ALLOW_SANDBOX_PAYMENTS="true")
    assert (done.returncode, done.stderr) == (0, "")
    assert "no issues" in done.stdout


@pytest.mark.parametrize(
    ("ids", "environment"),
    [
        ("security.W004 security.W008 security.W012 security.W016", {"SITE_URL": "http://shop.example"}),
        ("config.E004", {"SITE_URL": "https://shop.example"}),
        ("config.E009", {"SITE_URL": "https://shop.example", "TRUSTED_PROXIES": "10.0.0.7"}),
        ("security.W009", {"SITE_URL": "https://shop.example", "TRUSTED_PROXIES": "10.0.0.7", "SECRET_KEY": "x" * 60}),
    ],
)
def test_settings_unfit_for_production_are_reported(check_deploy, ids, environment):
    done = check_deploy(**environment)
    assert done.returncode == 1
    assert [check_id for check_id in ids.split() if check_id not in done.stderr] == []
