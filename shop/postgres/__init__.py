"""Django's PostgreSQL backend, made to know which transactions a thread holds."""
