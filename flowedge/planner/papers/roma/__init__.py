"""ROMA: allocation of compute and network by couplings of the two."""
