"""Notifications owns the messages that people get: the in-app inbox and e-mail, once for each thing that happened.

It listens to the other contexts; none of them waits for it.
"""
