"""Admin of users."""
