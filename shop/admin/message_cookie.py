"""Messages of the admin in a cookie whose name has the prefix of the site's other cookies."""

from django.conf import settings
from django.contrib.messages.storage.cookie import CookieStorage
from django.contrib.messages.storage.fallback import FallbackStorage
from django.contrib.messages.storage.session import SessionStorage


class PrefixedCookieStorage(CookieStorage):
    """Store messages in the cookie MESSAGE_COOKIE_NAME."""

    cookie_name = settings.MESSAGE_COOKIE_NAME


class MessageStorage(FallbackStorage):
    """Store messages in that cookie, and in the session what does not fit into it, as Django does."""

    storage_classes = (PrefixedCookieStorage, SessionStorage)
