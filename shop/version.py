"""The version of Satsuma, the same as in pyproject.toml, of which the image has no copy."""

VERSION = "0.1.0"
