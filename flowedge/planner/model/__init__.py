"""What is planned with: cluster, profiles, problem, plan, prediction, and a checker for any plan."""

THIS_MACHINE = "this-machine"
"""The kind of the machine on which profiles are measured, unless it is given a name."""
