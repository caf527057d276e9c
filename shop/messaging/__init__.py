"""Events between contexts: outbox, relay, inbox, and the engine that runs them."""
