"""Peeling: a context's database moves to another server, under running orders, and back. See docs/peeling.md, ADR 18."""
