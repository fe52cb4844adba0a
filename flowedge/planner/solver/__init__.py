"""The default strategy."""
