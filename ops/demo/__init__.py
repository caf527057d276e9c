"""Place orders in a running shop over HTTP, as its customers do."""
