"""Structured logs: one JSON object per line, with correlation and causation id. No secrets and no request bodies."""

import json
import logging
import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import structlog
from structlog.typing import EventDict, Processor

RECONNECT_MESSAGES = ("consumer: Cannot connect to", "beat: Connection error")  # what such records of Celery begin with
SECRET_NAME_PARTS = ("password", "token", "secret", "authorization", "cookie", "key_material")


SERVING_COMMANDS = ("engine", "worker", "runserver")  # of manage.py: they run until they are stopped

_stream = "ext://sys.stdout"


def write_logs_to_stderr() -> None:
    """Keep the standard output of this process for its result, as a command does. Call it before Django is configured."""
    global _stream
    _stream = "ext://sys.stderr"


def redact(_: object, __: str, event: EventDict) -> EventDict:
    """Replace values whose names contain one of SECRET_NAME_PARTS. A processor of structlog."""
    for name in event:
        if _is_secret(name):
            event[name] = "[redacted]"
    return event


@lru_cache(maxsize=1000)
def _is_secret(name: str) -> bool:
    return any(word in name.lower() for word in SECRET_NAME_PARTS)


def build_logging_config(level: str, as_json: bool) -> dict[str, Any]:
    """Return Django's LOGGING, and configure structlog so that both kinds of loggers write the same format."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        redact,
    ]
    renderer = structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=False)
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
                "processors": [structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
            }
        },
        "filters": {"unhandled_errors": {"()": UnhandledErrorFilter}},
        "handlers": {"out": {"class": "logging.StreamHandler", "formatter": "lines", "stream": _stream}},
        "root": {"handlers": ["out"], "level": level},
        "loggers": {
            "django.server": {"level": "WARNING"},
            # Django logs each response above 399, which the request log has. Its own errors are logged here only.
            "django.request": {"level": "ERROR", "filters": ["unhandled_errors"]},
            "psycopg.pool": {"level": "ERROR"},
            "shop.security": {"level": "INFO"},  # whatever LOG_LEVEL is: see shop/security_log.py
        },
    }


class UnhandledErrorFilter(logging.Filter):
    """Pass only records with a traceback: errors outside of views, such as in middleware."""

    def filter(self, record: logging.LogRecord) -> bool:
        return bool(record.exc_info)


class MessageBodyFilter(logging.Filter):
    """Remove message bodies from the records of Celery's consumer, which logs unreadable messages whole."""

    def filter(self, record: logging.LogRecord) -> bool:
        if "body" in record.msg:
            record.msg, record.args = re.split(r"\n| \[", record.getMessage(), maxsplit=1)[0][:300], ()
            record.exc_info = None
        return True


class ReconnectFilter(logging.Filter):
    """Log the attempts of Celery to reach its broker as warnings, in one line: it repeats them until one succeeds."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno >= logging.ERROR and str(record.msg).startswith(RECONNECT_MESSAGES):
            record.levelno, record.levelname = logging.WARNING, "WARNING"
            record.msg, record.args = " ".join(record.getMessage().split()), ()
        return True


class ServerLogFormatter(logging.Formatter):
    """Format the records of the HTTP server's own process as JSON, too (ops/launch/granian.json)."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat().replace("+00:00", "Z")
        fields = {"event": record.getMessage(), "logger": "server", "level": record.levelname.lower(), "timestamp": at}
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields)
