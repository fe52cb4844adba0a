"""Shifts: pools move as a whole or lose cameras where that is cheaper, and nothing is late or without room."""

from __future__ import annotations

import random
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from flowedge.planner.solver.insertion import insert_all
from flowedge.planner.solver.local_search import shift_stages
from flowedge.planner.solver.rounding import resource_prices
from flowedge.planner.solver.solve import flowedge
from tests.planner.small import small
from tests.planner.solver.partial_plans import empty, held, put, solved
from tools.planner_instances import instance


def test_a_pool_moves_as_a_whole() -> None:
    # Far, three cameras cost 10 W; near 2 W. Alone, the first to move would save nothing.
    master, _ = solved(small(count=3))
    partial = empty(master)
    for _ in range(3):
        put(partial, master, 1, {"Detect": "far"})
    shift_stages(partial)
    assert held(partial) == {("Detect", "near"): 2}


def test_as_many_cameras_leave_as_free_a_replica() -> None:
    # 9 cameras need two replicas far; one of them near leaves 8 for one.
    master, _ = solved(small(count=9))
    partial = empty(master)
    put(partial, master, 9, {"Detect": "far"})
    assert held(partial) == {("Detect", "far"): 2}
    shift_stages(partial)
    assert held(partial) == {("Detect", "far"): 1, ("Detect", "near"): 1}
    assert sum(assignment.cameras for assignment in partial.all()) == 9


def test_nothing_moves_where_it_would_be_late() -> None:
    master, _ = solved(small(latency=0.04))
    partial = empty(master)
    put(partial, master, 1, {"Detect": "far"})
    shift_stages(partial)
    assert held(partial) == {("Detect", "far"): 1}


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(1000, 10**6))
def test_shifts_keep_cameras_room_and_time(seed: int) -> None:
    problem, _ = instance(seed, nodes=3 + seed % 9, operators=3 + seed % 5)
    master, found = solved(problem)
    partial = empty(master)
    left = [(number, group.cameras) for number, group in enumerate(master.groups)]
    random.Random(seed).shuffle(left)
    lost = insert_all(partial, master, left, resource_prices(master, found))
    before = partial.value
    shift_stages(partial)
    assert partial.value <= before + 1e-6 * abs(before)
    assert partial.feasible()
    for number, group in enumerate(master.groups):
        there = sum(assignment.cameras for assignment in partial.assignments[number])
        assert there == group.cameras - sum(cameras for each, cameras in lost if each == number)
    for assignment in partial.all():
        assert partial.latency(
            assignment.configuration, assignment.rows, assignment.nodes, partial.waits(assignment)
        ) <= (assignment.configuration.application.latency * (1 + 1e-6))


def test_many_unequal_cameras_are_not_tried_in_every_combination() -> None:
    problem = small(latency=100.0, cores=1000)
    rates = 1.01, 1.13, 1.27, 1.39
    classes = tuple(replace(problem.classes[0], name=f"c{rate}", fps=rate, count=60) for rate in rates)
    plan = flowedge(replace(problem, classes=classes))
    assert plan.found
