"""Scenario files for `flowedge simulate`, and what writes those of ASET: `python -m tools.scenarios.aset`."""
