"""$Context owns $owns."""
