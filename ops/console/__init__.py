"""Show what all contexts know about one order."""
