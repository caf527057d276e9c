"""Structured logs: one JSON object a line, with the ids of the story that it belongs to. Never a secret, never a body."""

import json
import logging
import re
from datetime import UTC, datetime
from typing import Any

import structlog

SECRET = ("password", "token", "secret", "authorization", "cookie", "key_material")


def redact(_: Any, __: str, event: dict[str, Any]) -> dict[str, Any]:
    """Blank the values whose names say that they are secret."""
    for name in event:
        if any(word in name.lower() for word in SECRET):
            event[name] = "[redacted]"
    return event


def configuration(level: str, as_json: bool) -> dict[str, Any]:
    """Django's LOGGING, with structlog behind the standard library's loggers too."""
    shared = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        redact,
    ]
    last = structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=False)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.processors.format_exc_info,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "lines": {
                "()": structlog.stdlib.ProcessorFormatter,
                "foreign_pre_chain": [*shared, structlog.processors.format_exc_info],
                "processors": [structlog.stdlib.ProcessorFormatter.remove_processors_meta, last],
            }
        },
        "handlers": {"out": {"class": "logging.StreamHandler", "formatter": "lines", "stream": "ext://sys.stdout"}},
        "root": {"handlers": ["out"], "level": level},
        "loggers": {
            "django.server": {"level": "WARNING"},
            "django.request": {"level": "CRITICAL"},  # `shop.rest` logs the same with its story
            "psycopg.pool": {"level": "ERROR"},
        },
    }


class NoBody(logging.Filter):
    """For Celery's consumer, which tells of messages that it cannot read with all that is in them: here, that there was one."""

    def filter(self, record: logging.LogRecord) -> bool:
        if "body" in record.msg:
            record.msg, record.args = re.split(r"\n| \[", record.getMessage(), maxsplit=1)[0][:300], ()
            record.exc_info = None
        return True


class ServerLine(logging.Formatter):
    """What the server itself says, of its workers for example, in the same shape (config/granian.json)."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat().replace("+00:00", "Z")
        said = {"event": record.getMessage(), "logger": "server", "level": record.levelname.lower(), "timestamp": at}
        return json.dumps(said | ({"exception": self.formatException(record.exc_info)} if record.exc_info else {}))
