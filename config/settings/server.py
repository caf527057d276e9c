"""The web server: its threads, and the limits of a request body (see shop/request_buffer.py)."""

from django.core.exceptions import ImproperlyConfigured

from shop.settings import env, read_positive_number, read_setting

MAX_THREADS = 256


def read_thread_count(name: str, default: int) -> int:
    """Return a number of threads. Raises ValueError if it is not from 1 to MAX_THREADS."""
    value: int = env.int(name, default=default)
    if not 1 <= value <= MAX_THREADS:
        raise ValueError(f"{value} is not a number from 1 to {MAX_THREADS}")
    return value


# Threads per process that handle requests, besides twelve threads of its engine.
WEB_THREADS: int = read_setting("WEB_THREADS", read_thread_count, 4)
# Threads that handle calls from the processes of other contexts.
INTERNAL_THREADS: int = read_setting("INTERNAL_THREADS", read_thread_count, 4)
# How long the whole body of a request may take to arrive; after that the response is 408.
BODY_TIMEOUT_SECONDS: float = read_positive_number("BODY_TIMEOUT_SECONDS", 10)
# The largest body of a request in bytes; the response to a larger one is 413.
MAX_BODY_BYTES: int = read_setting("MAX_BODY_BYTES", env.int, 1_000_000)
if MAX_BODY_BYTES < 1:
    raise ImproperlyConfigured(f"MAX_BODY_BYTES is {MAX_BODY_BYTES}; it has to be above 0")
DATA_UPLOAD_MAX_MEMORY_SIZE = MAX_BODY_BYTES
