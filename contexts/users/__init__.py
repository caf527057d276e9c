"""Users owns accounts, sign-in and permissions.

It signs access tokens. Every other context verifies them with the public key, without a call to users.
"""
