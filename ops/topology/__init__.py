"""Describe the deployment from the code: the context map and the AsyncAPI document."""
