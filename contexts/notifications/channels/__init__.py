"""The channels to customers, one file each."""
