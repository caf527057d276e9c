"""Settings of notifications: the mail server."""

from typing import Any

from shop.addresses.email import InvalidAddress, parse_mailbox
from shop.setting_types import read_dotted_name, read_host, read_port
from shop.settings import env, read_number, read_setting, read_whole_number


def read_mailbox(name: str, default: Any) -> str:
    """Return an e-mail address, with or without a display name. Raises ValueError for anything else."""
    text = str(env.str(name, default=default))
    try:
        parse_mailbox(text)
    except InvalidAddress:
        raise ValueError(f"{text!r} is not an e-mail address, such as Satsuma <shop@satsuma.example>") from None
    return text


# Django's backend that sends e-mails. The file-based one (django.core.mail.backends.filebased.EmailBackend) is for trials.
EMAIL_BACKEND = read_setting("EMAIL_BACKEND", read_dotted_name, "django.core.mail.backends.smtp.EmailBackend")
# Folder for the e-mails of the file-based backend.
EMAIL_FILE_PATH = read_setting("EMAIL_FILE_PATH", env.str, None)
# Mail server.
EMAIL_HOST = read_setting("EMAIL_HOST", read_host, "127.0.0.1")
# Port of the mail server.
EMAIL_PORT = read_port("EMAIL_PORT", 1025)
# User name at the mail server; empty: no sign-in.
EMAIL_HOST_USER = read_setting("EMAIL_HOST_USER", env.str, "")
# Password at the mail server, read literally. EMAIL_HOST_PASSWORD_FILE names a file with it.
EMAIL_HOST_PASSWORD = read_setting("EMAIL_HOST_PASSWORD", env.str, "")
# Whether to use STARTTLS.
EMAIL_USE_TLS = read_setting("EMAIL_USE_TLS", env.bool, False)
# Connections to the mail server that a process opens at the same time while many e-mails are due. Not more than it allows.
EMAIL_CONNECTIONS = read_whole_number("EMAIL_CONNECTIONS", 20, most=200)
# How long the mail server may take to accept a connection.
EMAIL_TIMEOUT = read_number("EMAIL_TIMEOUT_SECONDS", 10, most=3_600)
# How long the mail server may take for its greeting.
EMAIL_GREETING_TIMEOUT = read_number("EMAIL_GREETING_TIMEOUT_SECONDS", 60, most=3_600)
# How long the mail server may take for the reply to a command.
EMAIL_COMMAND_TIMEOUT = read_number("EMAIL_COMMAND_TIMEOUT_SECONDS", 60, most=3_600)
# How long the mail server may take for the reply to a message; a shorter time makes duplicates (RFC 5321, 4.5.3.2).
EMAIL_DATA_TIMEOUT = read_number("EMAIL_DATA_TIMEOUT_SECONDS", 600, most=3_600)
# How long the mail server may take to end a session. All messages have been sent then.
EMAIL_QUIT_TIMEOUT = read_number("EMAIL_QUIT_TIMEOUT_SECONDS", 5, most=60)
# After this number of attempts without a reply to the message, staff decide: it may have arrived each time.
EMAIL_MAX_UNKNOWN_OUTCOMES = read_whole_number("EMAIL_MAX_UNKNOWN_OUTCOMES", 3, most=100)
# How long the second of these attempts waits after the first; the third waits ten times as long.
EMAIL_UNKNOWN_OUTCOME_PAUSE = read_number("EMAIL_UNKNOWN_OUTCOME_PAUSE_SECONDS", 60, most=86_400)
# How long it is kept that a link to an order was sent.
LINK_MESSAGE_RETENTION_DAYS = read_number("LINK_MESSAGE_RETENTION_DAYS", 30, least=1, most=3_650)
# Sender of all e-mails.
DEFAULT_FROM_EMAIL = read_setting("DEFAULT_FROM_EMAIL", read_mailbox, "Satsuma <shop@satsuma.example>")
