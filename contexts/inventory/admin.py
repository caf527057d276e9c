"""Admin of inventory."""
