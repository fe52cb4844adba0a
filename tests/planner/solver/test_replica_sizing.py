"""Replicas for all pools together: as few as keep everybody in time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flowedge.planner.model.problem import Problem
from flowedge.planner.solver.replica_sizing import dimension
from tests.planner.small import small
from tests.planner.solver.under_way import empty, held, put, solved


def tight(latency: float) -> Problem:
    return replace(small(latency=latency, cores=16, count=4), minimize="resources")


def test_promises_that_ask_for_too_much_are_dealt_out_anew() -> None:
    master, _ = solved(tight(1.0))
    pools = empty(master)
    lot = put(pools, master, 4, {"Detect": "near"})
    assert held(pools) == {("Detect", "near"): 3}
    pools.remove(lot)
    pools.add(replace(lot, promises=(0.0, 1e-6)))
    assert held(pools) == {("Detect", "near"): 4}
    assert dimension(pools)
    assert held(pools) == {("Detect", "near"): 3}


def test_no_fewer_than_time_allows() -> None:
    master, _ = solved(tight(0.055))
    pools = empty(master)
    put(pools, master, 4, {"Detect": "near"})
    assert held(pools) == {("Detect", "near"): 4}
    assert not dimension(pools)
    assert held(pools) == {("Detect", "near"): 4}


def test_where_only_time_counts_replicas_fill_the_node() -> None:
    problem = replace(small(latency=1.0, cores=16, count=4), minimize="utility", theta=1.0)
    master, _ = solved(problem)
    pools = empty(master)
    lot = put(pools, master, 4, {"Detect": "near"})
    pools.remove(lot)
    pools.add(replace(lot, promises=(0.0, 0.5), latency=0.55))
    slow = pools.value
    assert dimension(pools)
    assert held(pools) == {("Detect", "near"): 4}
    assert pools.value < slow
    assert pools.value == pytest.approx(4 * (0.05 - 0.4))
