"""HTTP: REST conventions, problem details, idempotency keys, access tokens, health checks."""
