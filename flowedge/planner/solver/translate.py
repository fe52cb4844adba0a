"""Between assignments and plans: the plan of a finished partial plan, and assignments from an earlier plan."""

from __future__ import annotations

from collections import defaultdict

from flowedge.planner.model.plan import Deployment, Placement, Plan, Route
from flowedge.planner.solver.column_generation import ColumnGeneration
from flowedge.planner.solver.instance import PoolKey
from flowedge.planner.solver.partial_plan import Assignment, PartialPlan


def to_plan(partial: PartialPlan, of: list[int], strategy: str) -> Plan:
    """The plan of the assignments; the cameras of a group are dealt out to its classes in order."""
    keys: dict[PoolKey, int] = {}
    deployments: list[Deployment] = []
    classes: dict[int, list[tuple[str, int]]] = defaultdict(list)
    for camera, group in zip(partial.problem.classes, of, strict=True):
        classes[group].append((camera.name, camera.count))
    routes: dict[tuple[str, object, tuple[Placement, ...]], Route] = {}
    for group, assignments in partial.assignments.items():
        waiting = list(reversed(classes[group]))
        for assignment in assignments:
            placements = _placements(partial, assignment, keys, deployments)
            remaining = assignment.cameras
            while remaining:
                name, count = waiting.pop()
                removed = min(count, remaining)
                remaining -= removed
                if count > removed:
                    waiting.append((name, count - removed))
                key = name, assignment.configuration.setting, placements
                before = routes[key].cameras if key in routes else 0
                routes[key] = Route(name, before + removed, assignment.configuration.setting, placements)
    return Plan(strategy, tuple(deployments), tuple(routes.values()))


def _placements(
    partial: PartialPlan, assignment: Assignment, keys: dict[PoolKey, int], deployments: list[Deployment]
) -> tuple[Placement, ...]:
    nodes = partial.problem.cluster.nodes
    served = dict(partial.served(assignment))
    placements = []
    for at, stage in enumerate(assignment.configuration.application.stages):
        position = None
        if at in served:
            key = served[at]
            if key not in keys:
                keys[key] = len(keys)
                pool = partial.pools[key[0]][key[1], key[2]]
                deployments.append(Deployment(stage.name, nodes[key[1]].name, key[2], pool.replicas))
            position = keys[key]
        placements.append(Placement(stage.name, nodes[assignment.nodes[at]].name, position))
    return tuple(placements)


def add_plan(partial: PartialPlan, master: ColumnGeneration, start: Plan) -> list[tuple[int, int]]:
    """Add the routes of an earlier plan that are still possible; return the groups and cameras without one.

    Wait limits are set anew from the time that each route leaves, so that replicas may differ from that plan's.
    """
    problem = partial.problem
    number = dict(zip((camera_class.name for camera_class in problem.classes), master.of, strict=True))
    remaining = [group.cameras for group in master.groups]
    for route in start.routes:
        group = number.get(route.camera_class)
        if group is None:
            continue
        cameras = min(route.cameras, remaining[group])
        assignment = _resumed_assignment(partial, master, start, route, group, cameras) if cameras else None
        if assignment is None:
            continue
        partial.add(assignment)
        if partial.feasible():
            remaining[group] -= cameras
        else:
            partial.remove(assignment)
    return [(group, cameras) for group, cameras in enumerate(remaining) if cameras]


def _resumed_assignment(
    partial: PartialPlan, master: ColumnGeneration, start: Plan, route: Route, group: int, cameras: int
) -> Assignment | None:
    index = partial.problem.cluster.index
    for configuration in master.configurations[master.groups[group].application]:
        names = [stage.name for stage in configuration.application.stages]
        if configuration.setting != route.setting or names != [
            placement.stage for placement in route.placements
        ]:
            continue
        rows: list[int] = []
        nodes: list[int] = []
        waits: list[float] = []
        for at, placement in enumerate(route.placements):
            node = index.get(placement.node, -1)
            deployed = None if placement.deployment is None else start.deployments[placement.deployment]
            service = deployed.service if deployed else None
            row = (
                node
                if configuration.follows_input[at]
                else configuration.choices[at].row.get((node, service), -1)
            )
            mask = configuration.admits(master.groups[group].rate)[at]
            if row < 0 or (configuration.follows_input[at] and node != nodes[configuration.inputs[at][0]]):
                return None
            if mask is not None and not configuration.follows_input[at] and not mask[row]:
                return None
            single = configuration.application.stages[at].singleton
            rows.append(row)
            nodes.append(node)
            waits.append(partial.longest(service) if single and service else 0.0)
        return partial.assignment(group, cameras, configuration, rows, nodes, waits)
    return None
