"""Replicas for all pools together: as few as keep everybody in time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flowedge.planner.model.problem import Problem
from flowedge.planner.solver.replica_sizing import size_replicas
from tests.planner.small import small
from tests.planner.solver.partial_plans import empty, held, put, solved


def tight(latency: float) -> Problem:
    return replace(small(latency=latency, cores=16, count=4), minimize="resources")


def test_promises_that_ask_for_too_much_are_dealt_out_anew() -> None:
    master, _ = solved(tight(1.0))
    partial = empty(master)
    assignment = put(partial, master, 4, {"Detect": "near"})
    assert held(partial) == {("Detect", "near"): 3}
    partial.remove(assignment)
    partial.add(replace(assignment, wait_limits=(0.0, 1e-6)))
    assert held(partial) == {("Detect", "near"): 4}
    assert size_replicas(partial)
    assert held(partial) == {("Detect", "near"): 3}


def test_no_fewer_than_time_allows() -> None:
    master, _ = solved(tight(0.055))
    partial = empty(master)
    put(partial, master, 4, {"Detect": "near"})
    assert held(partial) == {("Detect", "near"): 4}
    assert not size_replicas(partial)
    assert held(partial) == {("Detect", "near"): 4}


def test_where_only_time_counts_replicas_fill_the_node() -> None:
    problem = replace(small(latency=1.0, cores=16, count=4), minimize="utility", theta=1.0)
    master, _ = solved(problem)
    partial = empty(master)
    assignment = put(partial, master, 4, {"Detect": "near"})
    partial.remove(assignment)
    partial.add(replace(assignment, wait_limits=(0.0, 0.5), latency=0.55))
    slow = partial.value
    assert size_replicas(partial)
    assert held(partial) == {("Detect", "near"): 4}
    assert partial.value < slow
    assert partial.value == pytest.approx(4 * (0.05 - 0.4))
