"""Start every documented way to run from the locked packages alone, each in a new virtual environment: `make test-install`."""
