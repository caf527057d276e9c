"""Orders owns carts, orders and the checkout saga, which reserves stock and takes the payment of an order.

Only the holder of an order's lease changes its step or status; other workers ask it to check the order again.
"""
