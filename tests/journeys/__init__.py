"""Journeys: a running shop, over HTTP, as its customers and staff use it."""
