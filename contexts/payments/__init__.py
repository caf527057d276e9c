"""Payments owns the money side of an order: authorized, captured, voided, refunded, at a provider outside.

Its own row and the provider's exact answer are the truth; an outcome that is unknown stays unknown until looked up.
"""
