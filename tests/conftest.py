"""Settings of all tests."""

from hypothesis import HealthCheck, settings

# How long an example takes, or is looked for, says nothing on a machine that does other things as well.
# What fails, fails for everybody: no run draws examples of its own.
settings.register_profile(
    "flowedge", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("flowedge")
