"""Inventory owns the catalogue: categories, products, variants, prices, and how many units of each there are.

It sets stock aside for an order, and gives it back or lets it go only when orders says so.
"""
