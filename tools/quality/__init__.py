"""Measure how good an answer is: `python -m tools.quality --help`."""
