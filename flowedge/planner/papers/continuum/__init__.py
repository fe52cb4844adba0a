"""CONTINUUM: task categories, reserved resources, resolutions by Algorithm 1."""
