"""The Django admin of a context."""
