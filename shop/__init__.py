"""The kernel: the shared library of all contexts. It imports none of them."""
