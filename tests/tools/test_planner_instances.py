"""Random problems: known to have a plan, the same by seed, as large as they say."""

from __future__ import annotations

from flowedge.planner.model.checker import violations
from tools.planner_instances import instance


def test_the_planted_plan_solves_each_problem() -> None:
    for seed in range(60):
        problem, planted = instance(seed)
        assert violations(problem, planted) == ()
        assert 3 <= len(problem.applications[0].stages) <= 12
        assert 3 <= len(problem.cluster.nodes) <= 50


def test_the_same_seed_gives_the_same_problem_and_sizes_can_be_given() -> None:
    assert instance(7) == instance(7)
    assert instance(7) != instance(8)
    problem, _ = instance(7, operators=5, nodes=9)
    assert (len(problem.applications[0].stages), len(problem.cluster.nodes)) == (5, 9)
