"""Postal addresses: what the parts of an address are in each country, and one validation for all of them."""
