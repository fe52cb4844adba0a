"""The programme over known ways: whole replicas in its bound, and whole cameras by diving."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.planner.small import small
from tests.planner.solver.partial_plans import solved
from tools.planner_instances import instance


def test_a_part_of_a_replica_costs_a_whole_one() -> None:
    # One camera at 1 frame/s needs 1/16 of the replica beside it, which is 1 W of its node's idle power.
    _, found = solved(small(fps=1))
    assert found.bound == pytest.approx(1.0, rel=1e-5)


def test_as_many_replicas_as_the_load_needs_where_that_is_more() -> None:
    # 4 cameras at 10 frames/s are 2.5 replicas of 16 frames/s.
    _, found = solved(small(count=4, latency=10.0))
    assert found.bound == pytest.approx(2.5, rel=1e-5)


def test_a_dive_keeps_to_the_cores() -> None:
    # Near there is room for 4 replicas, which are 6 cameras; the seventh goes far.
    master, _ = solved(small(count=7))
    counts: Counter[int] = Counter()
    for way, cameras in zip(master.columns, master.programme.dive(), strict=True):
        counts[way.nodes[1]] += cameras
    assert counts.total() == 7
    assert counts[0] <= 6


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(1000, 10**6))
def test_dives_take_no_camera_twice(seed: int) -> None:
    problem, _ = instance(seed, nodes=3 + seed % 9, operators=3 + seed % 4)
    master, _ = solved(problem)
    counts: Counter[int] = Counter()
    for way, cameras in zip(master.columns, master.programme.dive(), strict=True):
        assert cameras >= 0
        counts[way.group] += cameras
    assert all(counts[number] <= group.cameras for number, group in enumerate(master.groups))
