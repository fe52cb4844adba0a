"""Profiles from measurement: service times of operators on this machine, and models fitted to them."""
