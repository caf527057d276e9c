"""Tests of $context."""
