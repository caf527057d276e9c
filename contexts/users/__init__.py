"""Users owns accounts: who somebody is, how they sign in, what they may do.

It signs the tokens that every other context verifies by public key, without asking here.
"""
