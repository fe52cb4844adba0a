"""The data plane: how values move between the operators of a running graph."""
