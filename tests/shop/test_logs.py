"""Logs: one JSON object per line, without secrets."""

import io
import json
import logging

import pytest
import structlog

from shop.logs import ReconnectFilter, redact


@pytest.mark.parametrize(
    "name", ["password", "new_password", "Authorization", "refresh_token", "SECRET_KEY", "Set-Cookie", "key_material"]
)
def test_a_value_with_a_secret_name_is_redacted(name):
    assert redact(None, "", {name: "hunter2", "event": "x"}) == {name: "[redacted]", "event": "x"}


@pytest.mark.parametrize("name", ["event", "email", "path", "order_id", "idempotency"])
def test_other_values_are_kept(name):
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


def test_structlog_writes_json_without_secrets(lines):
    structlog.get_logger("tests.logs").info("signed_in", user="ada", password="hunter2")
    [line] = lines()
    assert (line["event"], line["user"], line["password"]) == ("signed_in", "ada", "[redacted]")
    assert (line["level"], line["logger"]) == ("info", "tests.logs")
    assert line["timestamp"].endswith("Z")


def test_the_standard_library_writes_json_too(lines):
    logging.getLogger("tests.logs").warning("old %s", "style")
    assert lines()[0]["event"] == "old style"


@pytest.mark.parametrize(
    ("message", "level"),
    [
        (
            "consumer: Cannot connect to redis://broker//: refused.\nTrying again in 2.00 seconds... (1/100)\n",
            "warning",
        ),
        ("beat: Connection error: refused. Trying again in 2.0 seconds...", "warning"),
        ("Task handler raised error: KeyError()", "error"),
    ],
)
def test_an_attempt_to_reconnect_is_a_warning_and_a_failure_is_an_error(lines, message, level):
    logger = logging.getLogger("tests.logs")
    logger.addFilter(only := ReconnectFilter())
    try:
        logger.error(message)
    finally:
        logger.removeFilter(only)
    assert [(line["level"], line["event"]) for line in lines()] == [(level, " ".join(message.split()))]


def test_a_traceback_is_part_of_its_line(lines):
    try:
        1 / 0  # noqa: B018
    except ZeroDivisionError:
        structlog.get_logger("tests.logs").exception("failed")
    [line] = lines()
    assert "ZeroDivisionError" in line["exception"]


def test_a_line_break_in_a_value_does_not_start_a_new_line(lines):
    structlog.get_logger("tests.logs").info("x", given='a\n{"event": "forged"}')
    assert len(lines()) == 1
