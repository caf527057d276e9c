"""Handlers of events and timers. Users has none: what expires is deleted by the purges of its models."""
