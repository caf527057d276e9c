"""Peel a context: move its database to another server, and back, while orders run. See docs/peeling.md and ADR 18."""
