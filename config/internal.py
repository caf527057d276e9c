"""The WSGI application for the processes of other contexts. It has its own engine, so that received events run at once.

Never bind it to a public address: `python -m ops.launch.serve` starts it on INTERNAL_PORT.
"""

from config.wsgi import application as public  # noqa: F401, I001  sets up Django and starts the engine
from django.conf import settings

from shop.calls import hosts, services
from shop.calls.remote.server import MAX_REQUEST_BYTES, create_application
from shop.calls.remote.wire import build_path
from shop.db.database import hosted_contexts
from shop.request_buffer import Admission, RequestBuffer
from shop.messaging import inbox

services.bind_all()
application = create_application(
    services.get_served_methods(hosted_contexts())
    | inbox.get_served_methods(hosted_contexts())
    | hosts.get_served_methods(hosted_contexts())
)
server = RequestBuffer(
    application,
    threads=settings.INTERNAL_THREADS,
    max_body_bytes=MAX_REQUEST_BYTES,
    body_timeout_seconds=settings.BODY_TIMEOUT_SECONDS,
    admissions=[
        Admission(
            paths=map(build_path, settings.PASSWORD_CALLS),
            limit=settings.PASSWORD_HASHING_THREADS + settings.PASSWORD_HASHING_QUEUE,
            own_threads=settings.PASSWORD_HASHING_THREADS,
        ),
    ],
)
