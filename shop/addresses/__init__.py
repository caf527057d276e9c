"""Postal addresses and e-mail addresses."""
