"""Audit rows of whole shops: on a managed server, after a restore, and with a release that changes their table."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest
from django.conf import settings

from ops.launch.postgres import find_binaries
from tests.shop.db.superuser_session import execute_as_superuser

WARNING = "config.W007"


class Shop:
    """The users of a shop of its own, administered by any role."""

    def __init__(self, prefix: str, database_url: str) -> None:
        self.name = f"{prefix}_users"
        others = {
            f"{context.upper()}_URL": "http://127.0.0.1:9" for context in settings.ALL_CONTEXTS if context != "users"
        }
        self.environment = os.environ | others | {
            "CONTEXTS": "users", "DATABASE_PREFIX": prefix, "DATABASE_URL": database_url,
            "ALLOW_PERSONAL_DATA_IN_DATABASE_LOG": "true",
        }  # fmt: skip

    def manage(self, *arguments: str, tree: Path = settings.BASE_DIR) -> str:
        """Run a command of a release and return what it has written to either stream."""
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments], cwd=tree, env=self.environment | {"PYTHONPATH": str(tree)},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    def prepare(self) -> None:
        for command in (["databases"], ["migrate", "-v0"], ["databases"]):
            self.manage(*command)

    def create_staff(self) -> None:
        """Create an account, which makes an audit entry."""
        self.manage("create_staff", "--email", "ada@example.com", "--permissions", "*")

    def drop(self) -> None:
        prefix = self.environment["DATABASE_PREFIX"]
        for database in (self.name, f"{prefix}_directory"):
            execute_as_superuser(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")
        for role in (self.name, f"{prefix}_directory", f"{prefix}_owner"):
            execute_as_superuser(f"DROP ROLE IF EXISTS {role}")


@pytest.fixture(scope="module")
def shop():
    shop = Shop("test_audited", os.environ["DATABASE_URL"])
    try:
        shop.prepare()
        shop.create_staff()
        yield shop
    finally:
        shop.drop()


@pytest.fixture
def managed_shop():
    """Return a shop on a managed server, whose administrator is no superuser."""
    execute_as_superuser("CREATE ROLE test_administrator LOGIN CREATEROLE CREATEDB PASSWORD 'secret'")
    url = urlsplit(os.environ["DATABASE_URL"])
    netloc = f"test_administrator:secret@{url.netloc.rpartition('@')[2]}"
    shop = Shop("test_managed", urlunsplit(url._replace(netloc=netloc)))
    try:
        yield shop
    finally:
        shop.drop()
        execute_as_superuser("DROP ROLE test_administrator")


def test_an_administrator_who_is_no_superuser_protects_the_rows_once_there_is_a_table(managed_shop):
    managed_shop.manage("databases")
    managed_shop.manage("migrate", "-v0")
    assert WARNING in managed_shop.manage("check", "--database", "users")
    managed_shop.manage("databases")
    assert WARNING not in managed_shop.manage("check", "--database", "users")
    managed_shop.create_staff()


def test_rows_that_are_restored_from_a_dump_are_protected(shop, tmp_path):
    file, server, binaries = tmp_path / "dump", settings.DATABASE_SERVER, find_binaries()
    to_server = ["-h", server["HOST"], "-p", str(server["PORT"] or 5432), "-U", server["USER"]]
    subprocess.run([binaries / "pg_dump", *to_server, "-Fc", "-f", file, shop.name], check=True)
    shop.drop()
    shop.manage("databases")
    restore = [binaries / "pg_restore", *to_server, "--clean", "--if-exists", "--exit-on-error", "-d", shop.name, file]
    subprocess.run(restore, check=True)
    assert execute_as_superuser("SELECT action FROM shop_auditentry", database=shop.name) != []
    assert WARNING not in shop.manage("check", "--database", "users")


# --- A release that changes the audit table

ADD_COLUMN = """
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("shop", "{latest}")]
    operations = [migrations.AddField("auditentry", "place", models.TextField(db_default=""))]
"""


@pytest.fixture
def next_release(tmp_path):
    """Return a copy of the tree with a migration that adds a column to the audit table."""
    for name in ("shop", "config", "contexts", "ops"):
        shutil.copytree(settings.BASE_DIR / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(settings.BASE_DIR / "manage.py", tmp_path)
    folder = tmp_path / "shop" / "migrations"
    latest = max(file.stem for file in folder.glob("0*.py"))
    (folder / "0999_place.py").write_text(ADD_COLUMN.format(latest=latest))
    return tmp_path


def test_a_migration_of_the_audit_table_needs_it_unlocked(shop, next_release):
    def manage(*arguments: str) -> str:
        return shop.manage(*arguments, tree=next_release)

    manage("databases")
    with pytest.raises(AssertionError, match=r"run `manage\.py databases --unlock-audit-tables` first"):
        manage("migrate", "-v0")
    manage("databases", "--unlock-audit-tables")
    assert WARNING in manage("check", "--database", "users"), "the role may change the table, and so its rows"
    manage("migrate", "-v0")
    manage("databases")
    assert WARNING not in manage("check", "--database", "users")
    written = f"SELECT has_column_privilege('{shop.name}', 'shop_auditentry', 'place', 'INSERT')"
    assert execute_as_superuser(written, database=shop.name) == [(True,)]
