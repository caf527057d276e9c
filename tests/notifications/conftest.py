"""A fake mail server and fake orders for each test."""

import pytest
from django.conf import settings as configured

from shop.calls import services
from shop.db.database import execute
from tests.mail_server import FakeMailServer
from tests.notifications.example_orders import FakeOrders

# The binding of contexts makes no difference to the second kind, which therefore runs with one of them.
KINDS = {"pipelining": True} | ({"one_by_one": False} if configured.TRANSPORT == "local" else {})


@pytest.fixture(params=KINDS.values(), ids=KINDS)
def mail_server(settings, request):
    """Run a mail server that accepts groups of commands or not, and let Django send through it."""
    server = FakeMailServer()
    server.offers_pipelining = request.param
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", server.port
    settings.EMAIL_TIMEOUT = settings.EMAIL_GREETING_TIMEOUT = settings.EMAIL_COMMAND_TIMEOUT = 10
    server.start()
    yield server
    server.stop()


@pytest.fixture(autouse=True)
def fake_orders(settings):
    """Replace orders by the fake, let only notifications subscribe to events, and drop mail left by earlier tests."""
    subscriptions = settings.SUBSCRIPTIONS.items()
    settings.SUBSCRIPTIONS = {
        name: [context for context in contexts if context == "notifications"] for name, contexts in subscriptions
    }
    FakeOrders.requested_ids, FakeOrders.is_down, FakeOrders.on_request = [], False, None
    services.configure({"orders": "tests.notifications.example_orders.FakeOrders"}, settings.TRANSPORT)
    execute("notifications", "UPDATE notifications_message SET due_at = NULL WHERE due_at IS NOT NULL")
    yield FakeOrders
    services.configure({"orders": settings.SERVICES["orders"]}, settings.TRANSPORT)
