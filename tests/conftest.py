"""Settings of all tests."""

from hypothesis import settings

# How long an example takes says nothing on a machine that does other things as well.
settings.register_profile("flowedge", deadline=None)
settings.load_profile("flowedge")
