"""Databases: one alias per context, one transaction at a time, leases on rows."""
