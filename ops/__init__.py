"""Operate a deployment: launch, deploy, move databases, verify, and show how it is put together."""
