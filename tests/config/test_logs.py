"""Logs: one JSON object a line, and no secret in it."""

import io
import json
import logging

import pytest
import structlog

from config.logs import redact


@pytest.mark.parametrize(
    "name", ["password", "new_password", "Authorization", "refresh_token", "SECRET_KEY", "Set-Cookie", "key_material"]
)
def test_a_value_with_a_secret_name_is_blanked(name):
    assert redact(None, "", {name: "hunter2", "event": "x"}) == {name: "[redacted]", "event": "x"}


@pytest.mark.parametrize("name", ["event", "email", "path", "order_id", "idempotency"])
def test_other_values_stay(name):
    assert redact(None, "", {name: "x"}) == {name: "x"}


@pytest.fixture
def lines():
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(logging.getLogger().handlers[0].formatter)
    logger = logging.getLogger("tests.logs")
    logger.addHandler(handler)
    logger.setLevel("INFO")
    yield lambda: [json.loads(line) for line in out.getvalue().splitlines()]
    logger.removeHandler(handler)


def test_a_line_of_structlog_is_json_without_secrets(lines):
    structlog.get_logger("tests.logs").info("signed_in", user="ada", password="hunter2")
    [line] = lines()
    assert (line["event"], line["user"], line["password"]) == ("signed_in", "ada", "[redacted]")
    assert (line["level"], line["logger"]) == ("info", "tests.logs")
    assert line["timestamp"].endswith("Z")


def test_a_line_of_the_standard_library_is_json_too(lines):
    logging.getLogger("tests.logs").warning("old %s", "style")
    assert lines()[0]["event"] == "old style"


def test_a_traceback_stays_on_its_line(lines):
    try:
        1 / 0  # noqa: B018
    except ZeroDivisionError:
        structlog.get_logger("tests.logs").exception("failed")
    [line] = lines()
    assert "ZeroDivisionError" in line["exception"]


def test_a_line_break_in_a_value_forges_no_line(lines):
    structlog.get_logger("tests.logs").info("x", given='a\n{"event": "forged"}')
    assert len(lines()) == 1
