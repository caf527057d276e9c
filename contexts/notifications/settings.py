"""Settings of notifications: the mail server."""

from typing import Any

from shop.addresses.email import InvalidAddress, parse_mailbox
from shop.settings import env, read_positive_number, read_setting


def read_mailbox(name: str, default: Any) -> str:
    """Return an e-mail address, with or without a display name. Raises ValueError for anything else."""
    text = str(env.str(name, default=default))
    try:
        parse_mailbox(text)
    except InvalidAddress:
        raise ValueError(f"{text!r} is not an e-mail address, such as Satsuma <shop@satsuma.example>") from None
    return text


# Django's backend that sends e-mails. The file-based one (django.core.mail.backends.filebased.EmailBackend) is for trials.
EMAIL_BACKEND = read_setting("EMAIL_BACKEND", env.str, "django.core.mail.backends.smtp.EmailBackend")
# Folder for the e-mails of the file-based backend.
EMAIL_FILE_PATH = read_setting("EMAIL_FILE_PATH", env.str, None)
# Mail server.
EMAIL_HOST = read_setting("EMAIL_HOST", env.str, "127.0.0.1")
# Port of the mail server.
EMAIL_PORT = read_positive_number("EMAIL_PORT", 1025, env.int)
# User name at the mail server; empty: no sign-in.
EMAIL_HOST_USER = read_setting("EMAIL_HOST_USER", env.str, "")
# Password at the mail server, read literally. EMAIL_HOST_PASSWORD_FILE names a file with it.
EMAIL_HOST_PASSWORD = read_setting("EMAIL_HOST_PASSWORD", env.str, "")
# Whether to use STARTTLS.
EMAIL_USE_TLS = read_setting("EMAIL_USE_TLS", env.bool, False)
# How long the mail server may take to accept a connection.
EMAIL_TIMEOUT = read_positive_number("EMAIL_TIMEOUT_SECONDS", 10)
# How long the mail server may take for its greeting.
EMAIL_GREETING_TIMEOUT = read_positive_number("EMAIL_GREETING_TIMEOUT_SECONDS", 60)
# How long the mail server may take for the reply to a command.
EMAIL_COMMAND_TIMEOUT = read_positive_number("EMAIL_COMMAND_TIMEOUT_SECONDS", 60)
# How long the mail server may take for the reply to a message; a shorter time makes duplicates (RFC 5321, 4.5.3.2).
EMAIL_DATA_TIMEOUT = read_positive_number("EMAIL_DATA_TIMEOUT_SECONDS", 600)
# After this number of attempts without a reply to the message, staff decide: it may have arrived each time.
EMAIL_MAX_UNKNOWN_OUTCOMES = read_positive_number("EMAIL_MAX_UNKNOWN_OUTCOMES", 3, env.int)
# How long the second of these attempts waits after the first; the third waits ten times as long.
EMAIL_UNKNOWN_OUTCOME_PAUSE = read_positive_number("EMAIL_UNKNOWN_OUTCOME_PAUSE_SECONDS", 60)
# Sender of all e-mails.
DEFAULT_FROM_EMAIL = read_setting("DEFAULT_FROM_EMAIL", read_mailbox, "Satsuma <shop@satsuma.example>")
