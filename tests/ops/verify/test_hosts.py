"""A context that no process serves is an error of `manage.py verify`: its calls wait for ever, whatever its rows say."""

import pytest
from django.core.management import CommandError, call_command

from shop.calls.hosts import find_host_states
from tests.ports import reserve_port
from tests.shop.http.test_health import context_elsewhere


def test_a_context_that_no_process_serves_is_an_error(settings, capsys):
    with context_elsewhere(settings, "payments", f"http://127.0.0.1:{reserve_port()}"):
        with pytest.raises(
            CommandError, match=r"^No process serves payments: start one with CONTEXTS=payments"
        ) as refusal:
            call_command("verify", context=["users"])
        assert refusal.value.returncode == 3
    assert "0 violations" in capsys.readouterr().out


def test_a_process_that_hosts_everything_asks_no_other():
    assert find_host_states() == {}
