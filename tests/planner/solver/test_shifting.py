"""Shifts: pools move as a whole or lose cameras where that is cheaper, and nothing is late or without room."""

from __future__ import annotations

import random
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from flowedge.planner.solver.rounding import guide, place
from flowedge.planner.solver.shifting import shift
from flowedge.planner.solver.solve import flowedge
from tests.planner.small import small
from tests.planner.solver.under_way import empty, held, put, solved
from tools.planner_instances import instance


def test_a_pool_moves_as_a_whole() -> None:
    # Far, three cameras cost 10 W; near 2 W. Alone, the first to move would save nothing.
    master, _ = solved(small(count=3))
    pools = empty(master)
    for _ in range(3):
        put(pools, master, 1, {"Detect": "far"})
    shift(pools)
    assert held(pools) == {("Detect", "near"): 2}


def test_as_many_cameras_leave_as_free_a_replica() -> None:
    # 9 cameras need two replicas far; one of them near leaves 8 for one.
    master, _ = solved(small(count=9))
    pools = empty(master)
    put(pools, master, 9, {"Detect": "far"})
    assert held(pools) == {("Detect", "far"): 2}
    shift(pools)
    assert held(pools) == {("Detect", "far"): 1, ("Detect", "near"): 1}
    assert sum(lot.cameras for lot in pools.all()) == 9


def test_nothing_moves_where_it_would_be_late() -> None:
    master, _ = solved(small(latency=0.04))
    pools = empty(master)
    put(pools, master, 1, {"Detect": "far"})
    shift(pools)
    assert held(pools) == {("Detect", "far"): 1}


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(1000, 10**6))
def test_shifts_keep_cameras_room_and_time(seed: int) -> None:
    problem, _ = instance(seed, nodes=3 + seed % 9, operators=3 + seed % 5)
    master, found = solved(problem)
    pools = empty(master)
    left = [(number, group.cameras) for number, group in enumerate(master.groups)]
    random.Random(seed).shuffle(left)
    lost = place(pools, master, left, guide(master, found))
    before = pools.value
    shift(pools)
    assert pools.value <= before + 1e-6 * abs(before)
    assert pools.room()
    for number, group in enumerate(master.groups):
        there = sum(lot.cameras for lot in pools.lots[number])
        assert there == group.cameras - sum(cameras for each, cameras in lost if each == number)
    for lot in pools.all():
        assert pools.latency(lot.variant, lot.rows, lot.nodes, pools.waits(lot)) <= (
            lot.variant.application.latency * (1 + 1e-6)
        )


def test_many_unequal_cameras_are_not_tried_in_every_combination() -> None:
    problem = small(latency=100.0, cores=1000)
    rates = 1.01, 1.13, 1.27, 1.39
    classes = tuple(replace(problem.classes[0], name=f"c{rate}", fps=rate, count=60) for rate in rates)
    plan = flowedge(replace(problem, classes=classes))
    assert plan.found
