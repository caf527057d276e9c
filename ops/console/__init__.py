"""Show the data of one order from all contexts."""
