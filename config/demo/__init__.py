"""`manage.py demo`: customers who buy in a running shop over HTTP. Standard library only; needs none of its settings."""
