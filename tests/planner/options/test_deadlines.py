"""Options that are in time."""

from __future__ import annotations

from dataclasses import replace

from flowedge.planner.options.deadlines import options_in_time
from flowedge.planner.options.delays import path_delays
from tests.planner.crossing import SIZE, crossing


def test_ways_that_would_be_too_late_are_left_out() -> None:
    problem = crossing()
    (camera,) = problem.classes
    delays = path_delays(problem.cluster, problem.certainty)

    def nodes(limit: float) -> set[int] | None:
        goal = replace(problem.applications[0], latency=limit)
        found = options_in_time(replace(problem, applications=(goal,)), camera, SIZE, delays)
        return None if found is None else {node for node, _ in found.options["Detect"]}

    assert nodes(float("inf")) == {0, 1, 2}
    assert nodes(0.12) == {0, 1}  # 100 ms at the edge, 40 + 20 ms and two links to the server
    assert nodes(0.10) == {1}
    assert nodes(0.05) is None
