"""A mail server of the test's own, a few orders, and nothing left to send from before."""

import pytest

from shop import services
from shop.database import changed
from tests.notifications.postbox import Postbox
from tests.notifications.shelf import FewOrders


@pytest.fixture
def postbox(settings):
    """A running mail server that Django sends through."""
    box = Postbox()
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT, settings.EMAIL_TIMEOUT = "127.0.0.1", box.port, 10
    box.start()
    yield box
    box.stop()


@pytest.fixture(autouse=True)
def few_orders(settings):
    """Orders are the ones on the shelf, and nobody else hears of them; what earlier tests left to send is let lie."""
    subscriptions = settings.SUBSCRIPTIONS.items()
    settings.SUBSCRIPTIONS = {
        name: [own for own in contexts if own == "notifications"] for name, contexts in subscriptions
    }
    FewOrders.asked, FewOrders.down, FewOrders.when_asked = [], False, None
    services.configure({"orders": "tests.notifications.shelf.FewOrders"}, settings.TRANSPORT)
    changed("notifications", "UPDATE notifications_message SET due_at = NULL WHERE due_at IS NOT NULL")
    yield FewOrders
    services.configure({"orders": settings.SERVICES["orders"]}, settings.TRANSPORT)
