"""`manage.py startcontext`: the context that it writes keeps every rule, and works alone and together with the others.

All of it runs in a copy of the tree, with databases of its own on the suite's server.
"""

import os
import re
import shutil
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from ops.launch import up
from shop.db.database import fetch_rows
from tests.architecture import sources
from tests.concurrency import eventually
from tests.ports import reserve_port
from tests.shopper import Shopper

NAME = "reviews"
OTHERS = ",".join(settings.ALL_CONTEXTS)
IGNORED = shutil.ignore_patterns(
    ".git", ".venv", ".data", ".*.log", "__pycache__", ".*_cache", ".hypothesis", "node_modules"
)
TOOLS = Path(sys.executable).parent
SUITE_SETTINGS = ("DATABASE_URL", "DATABASE_PREFIX")  # the copy's own tests start a server of their own
CHECK_GENERATED = """
import django
django.setup()
from django.core.management import call_command
call_command("makemigrations", check_changes=True, dry_run=True)
call_command("check")
for command in ("subscriptions", "contexts", "manifests"):
    call_command(command, check=True)
"""
CALL_REVIEWS = """
import django
django.setup()
from uuid import UUID
from contexts.reviews.interface import reviews
print(*(review.text for review in reviews.get_reviews(ids=(UUID({review_id!r}),))))
"""


class Copy:
    """A copy of the tree, and the environment of its processes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.environment = os.environ | {
            "DATABASE_PREFIX": "test_startcontext", "DJANGO_SETTINGS_MODULE": "config.settings", "TRANSPORT": "local",
            "PYTHONDONTWRITEBYTECODE": "1",
        }  # fmt: skip

    def run(self, *command: object, without: tuple[str, ...] = (), **environment: str) -> str:
        """Run a command in the copy and return its output. Fails if the command does."""
        given = {name: value for name, value in self.environment.items() if name not in without}
        done = subprocess.run(
            [str(part) for part in command], cwd=self.root, env=given | environment, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def manage(self, *arguments: str) -> str:
        return self.run(sys.executable, "manage.py", *arguments)


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of the tree to which startcontext has added a context, and its databases."""
    root = tmp_path_factory.mktemp("startcontext") / "satsuma"
    shutil.copytree(settings.BASE_DIR, root, ignore=IGNORED)
    copy = Copy(root)
    copy.manage("startcontext", NAME, "--owns", "product reviews and their moderation")
    copy.manage("databases")
    copy.manage("migrate", "--verbosity", "0")
    yield copy
    prefix = copy.environment["DATABASE_PREFIX"]
    databases = fetch_rows("orders", "SELECT datname FROM pg_database WHERE starts_with(datname, %s)", [prefix])
    assert len(databases) == len(settings.ALL_CONTEXTS) + 2  # that of the new context, and the directory


def list_changed_files(root: Path) -> set[str]:
    """Return the files of a copy that are new or differ from those of the tree."""
    files = (file for file in root.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
    names = {str(file.relative_to(root)) for file in files if not any(part.endswith("_cache") for part in file.parts)}
    return {name for name in names if not _is_equal(root / name, settings.BASE_DIR / name)}


def _is_equal(one: Path, other: Path) -> bool:
    return other.exists() and one.read_bytes() == other.read_bytes()


def test_only_its_folders_the_map_and_generated_files_change(copy):
    generated = (
        "deploy/kubernetes/",
        "deploy/compose/gateway.conf",
        "docs/contexts.md",
        "docs/openapi.json",
        "config/subscriptions.json",
    )
    changed = {name for name in list_changed_files(copy.root) if not name.startswith(generated)}
    own = {name for name in changed if name.startswith((f"contexts/{NAME}/", f"tests/{NAME}/"))}
    assert changed - own == {".importlinter"}
    assert {
        f"contexts/{NAME}/{file}" for file in ("migrations/0001_initial.py", "schemas/events.json", "invariants.py")
    } < own


def test_the_map_gets_one_line(copy):
    before, after = ((root / ".importlinter").read_text().splitlines() for root in (settings.BASE_DIR, copy.root))
    [(old, new)] = [pair for pair in zip(before, after, strict=True) if pair[0] != pair[1]]
    assert new == f"{old} | {NAME}"


def test_it_passes_the_linters(copy):
    copy.run(TOOLS / "lint-imports", "--no-cache")
    for command in (["check"], ["format", "--check"]):
        copy.run(TOOLS / "ruff", *command, f"contexts/{NAME}", f"tests/{NAME}")


def test_generated_files_and_migrations_are_current(copy):
    copy.run(sys.executable, "-c", CHECK_GENERATED)


def test_it_keeps_the_rules_for_sources(copy):
    assert sources.find_unexpected_files(copy.root) == []
    assert sources.find_code_in_package_files(copy.root) == []
    assert sources.find_dynamic_lookups(copy.root) == []


def test_its_own_tests_and_the_rules_for_its_interface_pass(copy):
    rules = [f"tests/architecture/test_{name}.py" for name in ("interfaces", "registry")]
    output = copy.run(sys.executable, "-m", "pytest", "-x", "-k", NAME, f"tests/{NAME}", *rules, without=SUITE_SETTINGS)
    assert int(re.search(r"(\d+) passed", output)[1]) > 15


@contextmanager
def serve(copy, **environment):
    """Run a process tree of the copy until the end of the block. Yields a client."""
    port = reserve_port()
    own = {
        "PORT": str(port), "WEB_HOST": up.HOST, "WEB_WORKERS": "1", "ENGINE": "embedded", "SITE_URL": f"http://{up.HOST}:{port}",
    }  # fmt: skip
    server = subprocess.Popen(
        [sys.executable, "-m", "ops.launch.serve"], cwd=copy.root, env=copy.environment | own | environment,
        start_new_session=True,
    )  # fmt: skip
    try:
        up.await_ready(server, port)
        yield Shopper(f"http://{up.HOST}:{port}")
    finally:
        server.terminate()
        server.wait(40)


def create_and_read(customer: Shopper) -> str:
    """Create a review and read it until its handler has processed it. Returns its id."""
    body = {"reference": "MUG-1", "text": "Keeps my tea warm."}
    created, again = (customer.post(NAME, body, Idempotency_Key="create-it") for _ in range(2))
    assert (created.status, again.content) == (201, created.content)
    address = f"{NAME}/{created.body['id']}"
    processed = eventually(lambda: (one := customer.get(address).body)["processed_at"] and one)
    assert customer.get(NAME).body["results"] == [processed]
    assert processed == created.body | {"processed_at": processed["processed_at"]}
    return created.body["id"]


def test_it_works_in_one_process(copy):
    with serve(copy) as customer:
        customer.register()
        create_and_read(customer)
        copy.manage("verify", "--context", NAME)
        assert f"/api/v1/{NAME}" in customer.get("/api/schema").content.decode()


def test_it_works_in_a_process_of_its_own(copy):
    alone, together = reserve_port(), reserve_port()
    addresses = {f"{context.upper()}_URL": f"http://127.0.0.1:{together}" for context in settings.ALL_CONTEXTS}
    addresses["REVIEWS_URL"] = f"http://127.0.0.1:{alone}"
    with ExitStack() as processes:
        shop = processes.enter_context(serve(copy, **addresses, CONTEXTS=OTHERS, INTERNAL_PORT=str(together)))
        customer = processes.enter_context(serve(copy, **addresses, CONTEXTS=NAME, INTERNAL_PORT=str(alone)))
        shop.register()
        customer.token = shop.token
        review_id = create_and_read(customer)
        assert shop.get(NAME).status == customer.get("orders").status == 404
        call = CALL_REVIEWS.format(review_id=review_id)
        assert copy.run(sys.executable, "-c", call, **addresses, CONTEXTS=OTHERS).strip() == "Keeps my tea warm."


@pytest.fixture
def small_tree(settings, tmp_path):
    """A tree with a context map and one context."""
    shutil.copy(settings.BASE_DIR / ".importlinter", tmp_path)
    (tmp_path / "contexts" / "returns").mkdir(parents=True)
    (tmp_path / "tests" / "parcels").mkdir(parents=True)
    settings.BASE_DIR = tmp_path
    return tmp_path


REFUSED = {
    "Reviews": "3 to 30 lower-case letters",
    "product-reviews": "3 to 30 lower-case letters",
    "product_reviews": "3 to 30 lower-case letters",
    "../reviews": "3 to 30 lower-case letters",
    "2reviews": "3 to 30 lower-case letters",
    "": "3 to 30 lower-case letters",
    "class": "a word of Python",
    "match": "a word of Python",
    "bytes": "a word of Python",
    "orders": "orders is taken: an installed app has this label",
    "shop": "shop is taken: an installed app has this label",
    "sessions": "sessions is taken: an installed app has this label",
    "returns": "returns is taken: contexts/returns exists",
    "parcels": "parcels is taken: tests/parcels exists",
    "gateway": "gateway is taken: deployments use this name",
    "broker": "broker is taken: BROKER_URL is another setting",
    "loyalty": "loyalty is not a plural that ends in s: give the singular with --noun",
    "users": "users is taken",
    "texts": "--noun cannot be text",
}


@pytest.mark.parametrize(("name", "message"), REFUSED.items(), ids=REFUSED)
def test_a_name_that_cannot_be_used_is_refused_and_nothing_written(small_tree, name, message):
    assert_refused(small_tree, name, message)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"owns": ""}, "--owns has to be one line"),
        ({"owns": "first\nsecond"}, "--owns has to be one line"),
        ({"owns": 'a """ quote'}, "--owns has to be one line"),
        ({"owns": "x" * 100}, "--owns has to be one line"),
        ({"noun": "Review"}, "--noun has to be 3 to 30 lower-case letters"),
        ({"noun": "reviews"}, "--noun is reviews, as the context"),
        ({"noun": "user"}, "--noun cannot be user"),
    ],
)
def test_an_option_that_cannot_be_used_is_refused_and_nothing_written(small_tree, options, message):
    assert_refused(small_tree, NAME, message, **options)


def assert_refused(tree, name, message, **options):
    before = read_tree(tree)
    with pytest.raises(CommandError) as refusal:
        call_command("startcontext", name, **{"owns": "things", **options})
    assert message in str(refusal.value)
    assert read_tree(tree) == before


def read_tree(root: Path) -> dict[str, str]:
    return {str(path): path.read_text() if path.is_file() else "" for path in root.rglob("*")}
