"""The five bounded contexts of the shop."""
