"""Settings of $context: there are none yet.

A setting is a constant that is read from the environment and validated at start; document it in .env.example:

    from shop.settings import read_positive_number

    EXAMPLE_SECONDS = read_positive_number("EXAMPLE_SECONDS", 60)
"""
