"""Repair: no camera is lost."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from flowedge.planner.solver.insertion import insert_all
from flowedge.planner.solver.repair import repair
from flowedge.planner.solver.rounding import resource_prices
from tests.planner.solver.partial_plans import empty, solved
from tools.planner_instances import instance


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(1000, 10**6))
def test_repairs_keep_every_camera(seed: int) -> None:
    problem, _ = instance(seed, nodes=3 + seed % 5, operators=3 + seed % 5)
    master, found = solved(problem)
    partial = empty(master)
    prices = resource_prices(master, found)
    left = [(number, group.cameras) for number, group in enumerate(master.groups)]
    # Some are left out on purpose, so that there is something to find room for.
    lost = insert_all(partial, master, left[1:], prices) + left[:1]
    near = [master.nearest(group.node, len(problem.cluster.nodes)) for group in master.groups]
    lost = repair(partial, master, lost, prices, random.Random(seed), near=near)
    for number, group in enumerate(master.groups):
        there = sum(assignment.cameras for assignment in partial.assignments[number])
        assert there + sum(cameras for each, cameras in lost if each == number) == group.cameras
