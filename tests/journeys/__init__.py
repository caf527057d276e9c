"""Journeys: a running shop, used over HTTP by customers and staff."""
