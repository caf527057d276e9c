"""Settings of notifications: the mail server."""

from shop.settings import env, read_positive_number, read_setting

EMAIL_BACKEND = read_setting("EMAIL_BACKEND", env.str, "django.core.mail.backends.smtp.EmailBackend")
EMAIL_FILE_PATH = read_setting("EMAIL_FILE_PATH", env.str, None)
EMAIL_HOST = read_setting("EMAIL_HOST", env.str, "127.0.0.1")
EMAIL_PORT = read_setting("EMAIL_PORT", env.int, 1025)
EMAIL_HOST_USER = read_setting("EMAIL_HOST_USER", env.str, "")
EMAIL_HOST_PASSWORD = read_setting("EMAIL_HOST_PASSWORD", env.str, "")
EMAIL_USE_TLS = read_setting("EMAIL_USE_TLS", env.bool, False)
EMAIL_TIMEOUT = read_positive_number("EMAIL_TIMEOUT_SECONDS", 10)  # for connecting
EMAIL_GREETING_TIMEOUT = read_positive_number("EMAIL_GREETING_TIMEOUT_SECONDS", 60)
EMAIL_COMMAND_TIMEOUT = read_positive_number("EMAIL_COMMAND_TIMEOUT_SECONDS", 60)
EMAIL_DATA_TIMEOUT = read_positive_number("EMAIL_DATA_TIMEOUT_SECONDS", 600)  # for the reply to a message
# After this number of attempts without a reply to the message, staff decide: it may have arrived each time.
EMAIL_MAX_UNKNOWN_OUTCOMES = read_positive_number("EMAIL_MAX_UNKNOWN_OUTCOMES", 3, env.int)
DEFAULT_FROM_EMAIL = read_setting("DEFAULT_FROM_EMAIL", env.str, "Satsuma <shop@satsuma.example>")
