"""Inventory owns the catalogue (categories, products, variants, prices) and the stock of each variant.

It reserves stock for orders. A reservation is committed or released only on behalf of the orders context.
"""
