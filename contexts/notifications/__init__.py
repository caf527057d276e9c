"""Notifications owns the messages to customers: in-app messages and e-mails, one per event and channel.

It handles events of other contexts. No other context calls it.
"""
