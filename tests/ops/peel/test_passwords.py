"""The passwords of a move's superusers come from a file or the environment, and never from the command line."""

from contextlib import contextmanager

import psycopg
import pytest

from tests.ops.peel.moves import binding_of
from tests.ops.peel.moving_shop import PREFIX, MovingShop

PASSWORD = "of the new server/?@"
VARIABLES = ("PEEL_TO_PASSWORD", "PEEL_TO_PASSWORD_FILE", "PGPASSFILE")


@contextmanager
def ask_for_passwords(shop: MovingShop):
    """Let the new server ask everybody for a password."""
    rules = shop.new.data_folder / "pg_hba.conf"
    before = rules.read_text()
    connection = psycopg.connect(shop.new.url, autocommit=True)
    with connection:
        connection.execute(psycopg.sql.SQL("ALTER ROLE postgres PASSWORD {}").format(PASSWORD))
        rules.write_text("local all all scram-sha-256\n")
        connection.execute("SELECT pg_reload_conf()")
        try:
            yield
        finally:
            rules.write_text(before)
            connection.execute("SELECT pg_reload_conf()")


@pytest.fixture
def secured(shop):
    with ask_for_passwords(shop):
        yield shop


@pytest.fixture(params=VARIABLES)
def environment(request, tmp_path):
    """Return the environment of a command, with each of the ways to pass a password."""
    file = tmp_path / "password"
    file.write_text(PASSWORD if request.param == "PEEL_TO_PASSWORD_FILE" else f"*:*:*:postgres:{PASSWORD}")
    file.chmod(0o600)
    return {request.param: PASSWORD if request.param == "PEEL_TO_PASSWORD" else str(file)}


def test_a_server_that_asks_for_a_password_gets_it(secured, environment):
    denied = secured.peel("users", "test_secured", "--plan")
    assert denied.returncode == 1 and "The new server does not respond" in denied.stderr
    done = secured.peel("users", "test_secured", "--plan", **environment)
    assert done.returncode == 0, done.stderr


def test_a_move_replicates_with_a_password_that_only_this_machine_has(secured, tmp_path):
    """The old server replicates from the new one, and has neither the file nor the environment of the command."""
    file = tmp_path / "passwords"
    file.write_text(f"*:*:*:postgres:{PASSWORD}")
    file.chmod(0o600)
    moved = secured.peel("users", "test_secured", "--write", str(tmp_path / "written"), PGPASSFILE=str(file))
    assert moved.returncode == 0, moved.stderr
    assert PASSWORD not in moved.stdout + moved.stderr + (tmp_path / "written" / "users.env").read_text()
    back = secured.peel("users", "test_secured", "--rollback", PGPASSFILE=str(file))
    assert back.returncode == 0, back.stderr
    assert binding_of(secured, "users")[1] == f"{PREFIX}_users"


@pytest.mark.parametrize("option", ["--to", "--from"])
@pytest.mark.parametrize("query", ["", "?password=geheim", "?sslpassword=geheim"])
def test_a_password_on_the_command_line_is_refused(shop, option, query):
    userinfo = "postgres" if query else "postgres:geheim"
    address = f"postgres://{userinfo}@127.0.0.1:1/payments{query}"
    others = () if option == "--to" else ("--to", "postgres://postgres@127.0.0.1:1/payments")
    done = shop.manage("peel", "payments", option, address, *others)
    variable = f"PEEL_{option[2:].upper()}_PASSWORD"
    assert done.returncode == 1
    assert f"{option} contains a password" in done.stderr
    assert all(name in done.stderr for name in (variable, f"{variable}_FILE", "PGPASSFILE"))
    assert "geheim" not in done.stdout + done.stderr


def test_a_password_file_that_is_missing_is_named(shop):
    done = shop.peel("users", "test_secured", PEEL_TO_PASSWORD_FILE="/nonexistent/password")
    assert done.returncode == 1
    assert "PEEL_TO_PASSWORD_FILE: " in done.stderr and "Traceback" not in done.stderr


def test_a_service_is_refused(shop):
    done = shop.manage("peel", "users", "--to", "postgres://?service=new")
    assert "--to names a service: name the host" in done.stderr


def test_plan_copy_and_comparison_count_the_same_tables(shop):
    plan = shop.peel("users", "test_counted", "--plan")
    moved = shop.peel("users", "test_counted")
    assert moved.returncode == 0, moved.stderr
    [count] = {line.split(" tables")[0].split()[-1] for line in plan.stdout.splitlines() if " tables, about" in line}
    assert f"  copied {count} of {count} tables" in moved.stdout
    assert f" rows in {count} tables are equal" in moved.stdout
    assert shop.peel("users", "test_counted", "--rollback").returncode == 0
