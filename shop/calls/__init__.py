"""Calls between contexts: local, through the wire format, or to another process."""
