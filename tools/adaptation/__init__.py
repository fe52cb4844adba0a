"""How well a running graph keeps its goal while the load changes, beside the same graph in fixed settings."""
