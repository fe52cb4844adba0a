"""Local search: no camera is lost on the way."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from flowedge.planner.solver.local_search import repair
from flowedge.planner.solver.rounding import guide, place
from tests.planner.solver.under_way import empty, solved
from tools.planner_instances import instance


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(1000, 10**6))
def test_repairs_keep_every_camera(seed: int) -> None:
    problem, _ = instance(seed, nodes=3 + seed % 5, operators=3 + seed % 5)
    master, found = solved(problem)
    pools = empty(master)
    steer = guide(master, found)
    left = [(number, group.cameras) for number, group in enumerate(master.groups)]
    # Some are left out on purpose, so that there is something to find room for.
    lost = place(pools, master, left[1:], steer) + left[:1]
    near = [master.nearest(group.node, len(problem.cluster.nodes)) for group in master.groups]
    lost = repair(pools, master, lost, steer, random.Random(seed), rounds=5, near=near)
    for number, group in enumerate(master.groups):
        there = sum(lot.cameras for lot in pools.lots[number])
        assert there + sum(cameras for each, cameras in lost if each == number) == group.cameras
