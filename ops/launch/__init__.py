"""Start a shop: the process tree, a local PostgreSQL and Valkey, and the secrets."""
