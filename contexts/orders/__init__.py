"""Orders owns carts, orders and the checkout saga that leads an order through stock and money to its end.

Only the holder of an order's lease changes its step or status; everybody else asks it to look again.
"""
