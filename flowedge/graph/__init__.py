"""Graphs as plain data: operators, their types and knobs, the streams that join them, loading and printing."""
