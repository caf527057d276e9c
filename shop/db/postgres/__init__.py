"""Django's PostgreSQL backend with one transaction per thread, fewer messages, and databases that can move."""
