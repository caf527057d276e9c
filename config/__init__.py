"""The composition root: the only code below `ops` that imports every context."""
