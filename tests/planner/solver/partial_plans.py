"""Partial plans of a problem, with assignments where a test wants them."""

from __future__ import annotations

from collections.abc import Mapping

from flowedge.planner.model.problem import Problem
from flowedge.planner.options.delays import path_delays
from flowedge.planner.solver.column_generation import ColumnGeneration, Relaxation
from flowedge.planner.solver.instance import configurations, group_cameras
from flowedge.planner.solver.partial_plan import Assignment, PartialPlan
from flowedge.planner.solver.tuning import Budget


def solved(problem: Problem) -> tuple[ColumnGeneration, Relaxation]:
    """The programme of a problem, with its optimum."""
    delays = path_delays(problem.cluster, problem.certainty)
    groups, of = group_cameras(problem)
    master = ColumnGeneration(problem, delays, configurations(problem, delays), groups, of)
    return master, master.solve(Budget(1e9))


def empty(master: ColumnGeneration) -> PartialPlan:
    """PartialPlan without any assignment."""
    return PartialPlan(master.problem, master.delays, master.groups, Budget(1e9))


def put(partial: PartialPlan, master: ColumnGeneration, cameras: int, where: Mapping[str, str]) -> Assignment:
    """Cameras of the first group, each stage on the node it is given, or on that of the cameras."""
    (configuration, *_) = master.configurations[partial.groups[0].application]
    index = partial.problem.cluster.index
    nodes = [
        index.get(where.get(stage.name, ""), partial.groups[0].node)
        for stage in configuration.application.stages
    ]
    rows = []
    for node, choices in zip(nodes, configuration.choices, strict=True):
        rows.append(next(row for (at, _), row in choices.row.items() if at == node))
    assignment = partial.assignment(0, cameras, configuration, rows, nodes, [0.0] * len(nodes))
    assert assignment is not None
    partial.add(assignment)
    return assignment


def held(partial: PartialPlan) -> dict[tuple[str, str], int]:
    """Replicas by stage and node."""
    names = partial.problem.cluster.nodes
    return {
        (stage, names[node].name): pool.replicas
        for stage, there in partial.pools.items()
        for (node, _), pool in there.items()
    }
