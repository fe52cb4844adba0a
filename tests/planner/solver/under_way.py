"""Pools of a problem, and lots put where a test wants them."""

from __future__ import annotations

from collections.abc import Mapping

from flowedge.planner.model.problem import Problem
from flowedge.planner.options.columns import network
from flowedge.planner.solver.column_generation import Master, Relaxation
from flowedge.planner.solver.instance import variants
from flowedge.planner.solver.label_setting import Budget
from flowedge.planner.solver.partial_plan import Lot, Pools
from flowedge.planner.solver.ways import grouped


def solved(problem: Problem) -> tuple[Master, Relaxation]:
    """The programme of a problem, with its optimum."""
    net = network(problem.cluster, problem.certainty)
    groups, of = grouped(problem)
    master = Master(problem, net, variants(problem, net), groups, of)
    return master, master.solve(Budget(1e9))


def empty(master: Master) -> Pools:
    """Pools without any lot."""
    return Pools(master.problem, master.net, master.groups, Budget(1e9))


def put(pools: Pools, master: Master, cameras: int, where: Mapping[str, str]) -> Lot:
    """Cameras of the first group, each stage on the node it is given, or on that of the cameras."""
    (variant, *_) = master.variants[pools.groups[0].application]
    index = pools.problem.cluster.index
    nodes = [index.get(where.get(stage.name, ""), pools.groups[0].node) for stage in variant.application.stages]
    rows = []
    for node, choices in zip(nodes, variant.choices, strict=True):
        rows.append(next(row for (at, _), row in choices.row.items() if at == node))
    lot = pools.lot(0, cameras, variant, rows, nodes, [0.0] * len(nodes))
    assert lot is not None
    pools.add(lot)
    return lot


def held(pools: Pools) -> dict[tuple[str, str], int]:
    """Replicas by stage and node."""
    names = pools.problem.cluster.nodes
    return {
        (stage, names[node].name): pool.replicas
        for stage, there in pools.pools.items()
        for (node, _), pool in there.items()
    }
