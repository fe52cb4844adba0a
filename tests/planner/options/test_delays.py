"""Seconds along the paths of a network."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowedge.planner.model.prediction import path_seconds
from flowedge.planner.options.delays import path_delays
from tests.planner.crossing import crossing
from tools.planner_instances import instance


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_the_network_is_what_paths_take(seed: int) -> None:
    problem, _ = instance(seed)
    delays = path_delays(problem.cluster, problem.certainty)
    names = [node.name for node in problem.cluster.nodes]
    seconds = delays.seconds(1e4)
    for a in range(0, len(names), 3):
        for b in range(0, len(names), 4):
            assert seconds[a, b] == pytest.approx(path_seconds(problem, names[a], names[b], 1e4))


def test_where_no_way_leads_the_network_is_infinite() -> None:
    problem = crossing()
    delays = path_delays(replace(problem.cluster, links=()), 2.0)
    assert delays.seconds(0.0)[0, 1] == float("inf")
    assert delays.seconds(10.0)[1, 1] == 0.0
