"""Admin of orders."""
