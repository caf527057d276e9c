"""Settings of $context: there are none yet.

A setting is a constant that is read from the environment and validated at start. The comment above it is its description in
docs/settings.md and .env.example (`manage.py settings --write`):

    from shop.settings import read_positive_number

    # How long an example takes.
    EXAMPLE_SECONDS = read_positive_number("EXAMPLE_SECONDS", 60)
"""
