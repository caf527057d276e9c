"""Payments owns the money of an order: it authorizes, captures, voids and refunds at an external payment provider.

Its own row and the provider's exact response are the source of truth. An outcome that is unknown stays unknown until
the provider has answered.
"""
