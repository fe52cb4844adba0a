"""Measurements against peers and baselines, in pairs within one run: `python -m tools.bench --help`."""
