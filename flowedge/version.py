"""The version of FlowEdge: what is written by one is read by the same."""

__version__ = "0.1.0"
