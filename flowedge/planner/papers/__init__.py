"""Strategies published by others, and simple baselines, to compare with."""
