"""What one does without a planner: valid or refused, and where each puts things."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flowedge.planner.model.checker import violations
from flowedge.planner.papers.baselines import random_placement
from flowedge.planner.strategies import STRATEGIES
from tests.planner.crossing import crossing
from tools.planner_instances import instance

BASELINES = ("cloud-only", "edge-only", "monolithic", "random")


@pytest.mark.parametrize("name", BASELINES)
def test_what_a_baseline_returns_is_valid(name: str) -> None:
    found = 0
    for seed in range(25):
        problem, _ = instance(seed)
        plan = STRATEGIES[name](problem, None)
        assert plan.strategy == name
        assert violations(problem, plan) == ()
        found += plan.found
    assert found > 5


@pytest.mark.parametrize(
    ("name", "nodes"), [("cloud-only", {"server"}), ("edge-only", {"pi"}), ("monolithic", {"pi"})]
)
def test_where_baselines_put_operators(name: str, nodes: set[str]) -> None:
    problem = crossing(classes=(replace(crossing().classes[0], count=1),))
    plan = STRATEGIES[name](problem, None)
    assert plan.found
    assert {each.node for each in plan.deployments} == nodes


def test_monolithic_moves_everything_to_the_next_node_when_one_is_full() -> None:
    problem = crossing(classes=(replace(crossing().classes[0], count=3),))
    plan = STRATEGIES["monolithic"](problem, None)
    assert plan.found
    together = {tuple(place.node for place in route.placements[1:3]) for route in plan.routes}
    assert together == {("pi", "pi"), ("server", "server")}


def test_what_finds_no_plan_says_so_without_claiming_a_proof() -> None:
    for name in BASELINES:
        plan = STRATEGIES[name](crossing(goals={"latency": 0.01}), None)
        assert plan.reason is not None
        assert not plan.reason.proven
        assert plan.routes == ()


def test_random_is_the_same_by_seed_and_differs_between_seeds() -> None:
    problem = crossing(goals={"latency": 5.0})
    assert random_placement(problem, seed=3) == random_placement(problem, seed=3)
    assert len({random_placement(problem, seed=seed).routes for seed in range(10)}) > 1
