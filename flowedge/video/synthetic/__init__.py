"""A synthetic street, drawn: people and vehicles with ground truth, the same for the same seed."""
