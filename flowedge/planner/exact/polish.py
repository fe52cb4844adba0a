"""Replicas of a plan, one by one: more where frames wait too long, fewer where nobody would notice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from flowedge.planner.model.checker import violations
from flowedge.planner.model.plan import Deployment, Plan, Route
from flowedge.planner.model.prediction import deployment_loads, predict
from flowedge.planner.model.problem import Problem
from flowedge.planner.model.queueing import wait

_MOST_ADDED = 200


def polished(problem: Problem, plan: Plan) -> Plan:
    """The same routes in time, if replicas alone can do it, and with as few of them as that takes.

    The plan that is returned may still be invalid where the one that is given was.
    """
    plan = _in_time(problem, plan)
    if violations(problem, plan):
        return plan
    for lighter in _lighter(problem, plan):
        plan = lighter
    return plan


def _in_time(problem: Problem, plan: Plan) -> Plan:
    """Adds replicas where the frames of late routes wait the longest."""
    goals = {each.name: problem.application(each.application).latency for each in problem.classes}
    for _ in range(_MOST_ADDED):
        latencies = predict(problem, plan).latencies
        late = [
            route
            for route, latency in zip(plan.routes, latencies, strict=True)
            if latency.total > goals[route.camera_class]
        ]
        if not late:
            break
        waits = _waits(problem, plan)
        slowest = max((each for route in late for each in _used(route)), key=waits.__getitem__, default=None)
        if slowest is None or waits[slowest] == 0:
            break
        plan = _with(problem, plan, slowest, plan.deployments[slowest].replicas + 1)
    return plan


def _lighter(problem: Problem, plan: Plan) -> Iterator[Plan]:
    """Valid plans of lower and lower value: equal deployments become one, and replicas go."""
    for position in range(len(plan.deployments) - 1, -1, -1):
        each = plan.deployments[position]
        same = [
            other
            for other in range(position)
            if replace(plan.deployments[other], replicas=each.replicas) == each
        ]
        if same and (merged := _valid(problem, plan, _merged(plan, same[0], position))):
            plan = merged
            yield plan
    for position in range(len(plan.deployments)):
        while plan.deployments[position].replicas > 1:
            fewer = _with(problem, plan, position, plan.deployments[position].replicas - 1)
            if not _valid(problem, plan, fewer):
                break
            plan = fewer
            yield plan


def _valid(problem: Problem, plan: Plan, changed: Plan) -> Plan | None:
    changed = replace(changed, value=predict(problem, changed).value)
    return None if changed.value > plan.value or violations(problem, changed) else changed


def _with(problem: Problem, plan: Plan, position: int, replicas: int) -> Plan:
    changed = list(plan.deployments)
    changed[position] = replace(changed[position], replicas=replicas)
    plan = replace(plan, deployments=tuple(changed))
    return replace(plan, value=predict(problem, plan).value)


def _merged(plan: Plan, into: int, gone: int) -> Plan:
    """The plan in which the replicas of one deployment belong to another one before it."""
    both = plan.deployments[into].replicas + plan.deployments[gone].replicas
    deployments: list[Deployment] = list(plan.deployments)
    deployments[into] = replace(deployments[into], replicas=both)
    del deployments[gone]

    def moved(position: int | None) -> int | None:
        if position is None or position < gone:
            return position
        return into if position == gone else position - 1

    routes = tuple(
        replace(
            route,
            placements=tuple(replace(each, deployment=moved(each.deployment)) for each in route.placements),
        )
        for route in plan.routes
    )
    return replace(plan, deployments=tuple(deployments), routes=routes)


def _waits(problem: Problem, plan: Plan) -> list[float]:
    loads, streams = deployment_loads(problem, plan)
    found = []
    for load, cameras, each in zip(loads, streams, plan.deployments, strict=True):
        service, used = each.service, load / (each.replicas * each.service.rate)
        found.append(wait(used, service.seconds, service.deviation, each.replicas, cameras))
    return found


def _used(route: Route) -> list[int]:
    return [each.deployment for each in route.placements if each.deployment is not None]
