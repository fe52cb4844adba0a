"""From the linear programme's shares of cameras to lots of whole cameras for which there is room."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from flowedge.planner.model.plan import Deployment, Placement, Plan, Route
from flowedge.planner.solver.column_generation import Master, Relaxation
from flowedge.planner.solver.insertion import Guide, insert
from flowedge.planner.solver.instance import RESOURCES
from flowedge.planner.solver.partial_plan import Lot, Pools
from flowedge.planner.solver.replica_sizing import dimension
from flowedge.planner.solver.ways import Key, Way


def guide(master: Master, found: Relaxation) -> Guide:
    """The programme's prices of what is scarce, in the objective's unit for a core, a byte, a bit/s."""
    cluster = master.problem.cluster
    nodes, arcs = np.zeros((len(cluster.nodes), len(RESOURCES))), dict[int, float]()
    for (what, where), row in master.programme.rows.items():
        price = float(found.prices[row]) if row < len(found.prices) else 0.0
        if price <= 0:
            continue
        if what == "link":
            arcs[where] = price * 8 / cluster.arcs[where].bandwidth
        elif what in RESOURCES:
            nodes[where, RESOURCES.index(what)] = price / getattr(cluster.nodes[where], what)
    return Guide(nodes, arcs)


def whole(found: Relaxation, master: Master) -> list[tuple[Way, int]]:
    """Whole cameras on the ways of an optimum.

    With few groups the programme is solved again after each step; with many, shares are rounded down and the
    rest goes to the largest remainders.
    """
    if not master.many:
        return [(way, count) for way, count in zip(master.ways, master.programme.dive(), strict=True) if count]
    shares: dict[int, list[tuple[Way, float]]] = defaultdict(list)
    for way, value in zip(found.ways, found.values, strict=False):
        if value > 1e-9:
            shares[way.group].append((way, float(value)))
    rounded = []
    for number, mine in shares.items():
        counts = [int(value + 1e-9) for _, value in mine]
        left = master.groups[number].cameras - sum(counts)
        order = sorted(range(len(mine)), key=lambda at: counts[at] - mine[at][1])
        for at in order[:left]:
            counts[at] += 1
        rounded += [(way, count) for (way, _), count in zip(mine, counts, strict=True) if count]
    return rounded


def lots(pools: Pools, rounded: list[tuple[Way, int]]) -> list[tuple[int, int]]:
    """Adds the ways as lots; what is left are groups and cameras without one, or without room or time."""
    missing = [group.cameras for group in pools.groups]
    for way, cameras in rounded:
        missing[way.group] -= cameras
    left = [(group, cameras) for group, cameras in enumerate(missing) if cameras]
    for way, cameras in sorted(rounded, key=lambda each: -each[1] * pools.groups[each[0].group].rate):
        stages = zip(way.variant.application.stages, way.variant.choices, way.rows, strict=True)
        waits = [
            pools.longest(service) if stage.singleton and (service := choices.services[row]) else 0.0
            for stage, choices, row in stages
        ]
        lot = pools.lot(way.group, cameras, way.variant, way.rows, way.nodes, waits)
        if lot is not None:
            pools.add(lot)
            if pools.room() or (pools.few and dimension(pools)):
                continue
            pools.remove(lot)
        left.append((way.group, cameras))
    return left


def place(
    pools: Pools,
    master: Master,
    left: list[tuple[int, int]],
    steer: Guide,
    *,
    blend: float = 0.0,
    near: Sequence[NDArray[np.bool_]] | None = None,
    ceiling: float = math.inf,
) -> list[tuple[int, int]]:
    """Finds room for groups and cameras, if need be by halves; what is left.

    It gives up where the pools would come to `ceiling` or more, and when their budget is spent.
    """
    gains = master.gains()
    behind = sum(gains[group] * cameras for group, cameras in left)
    waiting = list(reversed(left))
    lost: list[tuple[int, int]] = []
    while waiting:
        group, cameras = waiting.pop()
        if pools.budget.over or (lost and ceiling < math.inf):
            lost.append((group, cameras))
            continue
        variants = master.variants[master.groups[group].application]
        here = near[group] if near else None
        behind -= gains[group] * cameras
        most = ceiling - pools.value + behind
        if insert(pools, variants, group, cameras, blend=blend, guide=steer, near=here, ceiling=most):
            continue
        if cameras > 1 and ceiling == math.inf:
            waiting += [(group, cameras // 2), (group, cameras - cameras // 2)]
            behind += gains[group] * cameras
        else:
            lost.append((group, cameras))
    return lost


def plan(pools: Pools, of: list[int], strategy: str) -> Plan:
    """The plan of the lots; the cameras of a group are dealt out to its classes in order."""
    keys: dict[Key, int] = {}
    deployments: list[Deployment] = []
    classes: dict[int, list[tuple[str, int]]] = defaultdict(list)
    for camera, group in zip(pools.problem.classes, of, strict=True):
        classes[group].append((camera.name, camera.count))
    routes: dict[tuple[str, object, tuple[Placement, ...]], Route] = {}
    for group, there in pools.lots.items():
        waiting = list(reversed(classes[group]))
        for lot in there:
            placements = _placements(pools, lot, keys, deployments)
            left = lot.cameras
            while left:
                name, count = waiting.pop()
                taken = min(count, left)
                left -= taken
                if count > taken:
                    waiting.append((name, count - taken))
                key = name, lot.variant.setting, placements
                before = routes[key].cameras if key in routes else 0
                routes[key] = Route(name, before + taken, lot.variant.setting, placements)
    return Plan(strategy, tuple(deployments), tuple(routes.values()))


def _placements(
    pools: Pools, lot: Lot, keys: dict[Key, int], deployments: list[Deployment]
) -> tuple[Placement, ...]:
    nodes = pools.problem.cluster.nodes
    served = dict(pools.served(lot))
    placements = []
    for at, stage in enumerate(lot.variant.application.stages):
        position = None
        if at in served:
            key = served[at]
            if key not in keys:
                keys[key] = len(keys)
                pool = pools.pools[key[0]][key[1], key[2]]
                deployments.append(Deployment(stage.name, nodes[key[1]].name, key[2], pool.replicas))
            position = keys[key]
        placements.append(Placement(stage.name, nodes[lot.nodes[at]].name, position))
    return tuple(placements)


def resume(pools: Pools, master: Master, start: Plan) -> list[tuple[int, int]]:
    """Adds the routes of an earlier plan as far as they are still possible; groups and cameras that are left.

    Waits are promised as they would be at that plan's load, so that replicas may differ from it.
    """
    problem = pools.problem
    number = dict(zip((each.name for each in problem.classes), master.of, strict=True))
    left = [group.cameras for group in master.groups]
    for route in start.routes:
        group = number.get(route.camera_class)
        if group is None:
            continue
        cameras = min(route.cameras, left[group])
        lot = _resumed(pools, master, start, route, group, cameras) if cameras else None
        if lot is None:
            continue
        pools.add(lot)
        if pools.room():
            left[group] -= cameras
        else:
            pools.remove(lot)
    return [(group, cameras) for group, cameras in enumerate(left) if cameras]


def _resumed(pools: Pools, master: Master, start: Plan, route: Route, group: int, cameras: int) -> Lot | None:
    index = pools.problem.cluster.index
    for variant in master.variants[master.groups[group].application]:
        names = [stage.name for stage in variant.application.stages]
        if variant.setting != route.setting or names != [each.stage for each in route.placements]:
            continue
        rows: list[int] = []
        nodes: list[int] = []
        waits: list[float] = []
        for at, placement in enumerate(route.placements):
            node = index.get(placement.node, -1)
            deployed = None if placement.deployment is None else start.deployments[placement.deployment]
            service = deployed.service if deployed else None
            row = node if variant.stays[at] else variant.choices[at].row.get((node, service), -1)
            mask = variant.admits(master.groups[group].rate)[at]
            if row < 0 or (variant.stays[at] and node != nodes[variant.inputs[at][0]]):
                return None
            if mask is not None and not variant.stays[at] and not mask[row]:
                return None
            single = variant.application.stages[at].singleton
            rows.append(row)
            nodes.append(node)
            waits.append(pools.longest(service) if single and service else 0.0)
        return pools.lot(group, cameras, variant, rows, nodes, waits)
    return None
