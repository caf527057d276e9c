"""How fast Satsuma is, measured beside the same shop as one flat Django view on one database."""
