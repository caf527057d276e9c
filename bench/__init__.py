"""Measure how fast Satsuma is, compared with the same shop as one plain Django view on one database (the control)."""
