"""Clients that generators make of the OpenAPI document, and its examples, against a seeded shop."""
