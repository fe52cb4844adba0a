"""Exact plans for small problems, and the goals in conflict where there is none."""
