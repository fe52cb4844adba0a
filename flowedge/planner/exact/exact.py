"""`exact`: the compact programme, solved to its optimum by HiGHS.

First it is solved as a relaxation in which nobody waits and the cameras of a class may mix. Its value bounds
every plan, and its plan is the optimum if it passes the checker as it is. Else it is solved with the waits of
`flowedge.planner.options.offers`, and with cameras in lots that each take one route. The replicas of each plan
are then set to what its predicted waits really need (`polished`). The difference between the value of the best
plan and the bound is the gap. That there is no plan is proven where the relaxation has none.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace

from flowedge.planner.exact.formulation import Formulation
from flowedge.planner.exact.infeasibility import conflict
from flowedge.planner.exact.milp import Solution
from flowedge.planner.model.checker import better, violations
from flowedge.planner.model.plan import Plan, Reason, Route
from flowedge.planner.model.prediction import predict, valued
from flowedge.planner.model.problem import Problem
from flowedge.planner.options.delays import Delays, path_delays
from flowedge.planner.options.routes import assemble

_OPTIMAL = 1e-4  # a gap that counts as none
_ROUNDS = 5  # programmes that share the time
_MOST_ADDED = 200  # replicas, one by one


def exact(problem: Problem, start: Plan | None = None, *, time_limit: float = 60.0) -> Plan:
    """The best plan, and how far from the best it may be, in about `time_limit` seconds.

    HiGHS looks at the clock now and then only, so that one programme may take longer than its part of the
    time; the later ones then have less, or are not begun.
    """
    end = time.monotonic() + time_limit
    delays = path_delays(problem.cluster, problem.certainty)
    relaxed = relaxation(problem, delays, "exact", time_limit=time_limit / _ROUNDS)
    if relaxed.reason and relaxed.reason.proven:
        return relaxed
    best = better(problem, replace(relaxed, bound=None), start)
    if not _optimal(best, relaxed.bound):
        for plan in _waiting(problem, delays, time_limit / _ROUNDS, end):
            best = better(problem, best, plan)
            if _optimal(best, relaxed.bound):
                break
    if not best.found:
        return Plan("exact", reason=Reason((f"no plan was found in {time_limit:g} s",), proven=False))
    return replace(best, bound=relaxed.bound)


def relaxation(
    problem: Problem,
    delays: Delays,
    strategy: str,
    *,
    time_limit: float = math.inf,
    node_limit: int | None = None,
    work_limit: float = math.inf,
) -> Plan:
    """The plan of the programme in which nobody waits and cameras may mix, with the replicas that waits need.

    Its `bound` holds for every plan; it is given as well where the plan itself is not valid and so left out. A
    reason that is proven means that there is no plan.

    With a `work_limit`, see `IntegerProgramme.work`, a programme that would take more is not solved, and the
    bound is that of its linear relaxation.
    """
    formulation, plan = Formulation(problem, delays, waits=False), None
    linear = formulation.model.solve(relaxed=True) if work_limit < math.inf else None
    if linear is None or (linear.values is not None and formulation.model.work(linear.values) <= work_limit):
        solution = formulation.model.solve(time_limit=time_limit, node_limit=node_limit)
        plan = _plan(problem, formulation, solution)
    else:
        solution = linear
    if solution.state == "infeasible":
        return Plan(strategy, reason=Reason(conflict(problem), proven=True))
    nothing = Plan(strategy, reason=Reason(("the compact programme found nothing",), proven=False))
    return replace(better(problem, nothing, plan), bound=solution.bound)


def _waiting(problem: Problem, delays: Delays, seconds: float, end: float) -> Iterator[Plan]:
    """Plans, not all valid, of the programme with waits: cameras mixed, undivided, as mixed, one by one.

    Each programme has so many `seconds`, and none is begun after the `end` (of `time.monotonic`).
    """
    whole = {camera.name: [camera.count] for camera in problem.classes}
    alone = {camera.name: [1] * camera.count for camera in problem.classes}
    tried: list[dict[str, list[int]]] = []
    mixed = _solved(problem, delays, None, seconds, end)
    if mixed is not None:
        yield mixed
    for lots in (whole, whole if mixed is None else _lots(mixed), alone):
        if lots not in tried:
            tried.append(lots)
            plan = _solved(problem, delays, lots, seconds, end)
            if plan is not None:
                yield plan


def _solved(
    problem: Problem, delays: Delays, lots: dict[str, list[int]] | None, seconds: float, end: float
) -> Plan | None:
    """The plan of the programme with waits; None where it has none, or there is no time to begin."""
    if time.monotonic() >= end:
        return None
    formulation = Formulation(problem, delays, lots=lots)
    remaining = end - time.monotonic()
    if remaining <= 0:
        return None
    return _plan(problem, formulation, formulation.model.solve(time_limit=min(seconds, remaining)))


def _lots(plan: Plan) -> dict[str, list[int]]:
    """How many cameras of each class go together."""
    lots: dict[str, list[int]] = defaultdict(list)
    for route in plan.routes:
        lots[route.camera_class].append(route.cameras)
    return {name: sorted(counts, reverse=True) for name, counts in lots.items()}


def _optimal(plan: Plan, bound: float | None) -> bool:
    gap = replace(plan, bound=bound).gap
    return gap is not None and gap <= _OPTIMAL


def _plan(problem: Problem, formulation: Formulation, solution: Solution) -> Plan | None:
    """The plan of a programme's solution, which may still be invalid; None where there is no solution."""
    if solution.values is None:
        return None
    plan = assemble(problem, "exact", formulation.columns(solution.values))
    return polished(problem, plan)


def polished(problem: Problem, plan: Plan) -> Plan:
    """The same routes in time, if replicas alone can do it, and with as few of them as that takes.

    The plan that is returned may still be invalid where the one that is given was.
    """
    plan = _in_time(problem, plan)
    if violations(problem, plan):
        return plan
    plan = _merged(problem, plan)
    return _with_fewer_replicas(problem, plan)


def _in_time(problem: Problem, plan: Plan) -> Plan:
    """Add replicas where the frames of late routes wait the longest."""
    goals = {camera.name: problem.application(camera.application).latency for camera in problem.classes}
    for _ in range(_MOST_ADDED):
        prediction = predict(problem, plan)
        late = [
            route
            for route, latency in zip(plan.routes, prediction.latencies, strict=True)
            if latency.total > goals[route.camera_class]
        ]
        waits = prediction.waits
        slowest = max(
            (position for route in late for position in _used(route)), key=waits.__getitem__, default=None
        )
        if slowest is None or waits[slowest] == 0:
            break
        plan = _with_replicas(plan, slowest, plan.deployments[slowest].replicas + 1)
    return valued(problem, plan)


def _merged(problem: Problem, plan: Plan) -> Plan:
    """A valid plan in which deployments that differ in nothing but replicas are one, where that is no worse."""
    for position in range(len(plan.deployments) - 1, -1, -1):
        deployment = plan.deployments[position]
        alike = [
            other
            for other in range(position)
            if replace(plan.deployments[other], replicas=deployment.replicas) == deployment
        ]
        if alike:
            plan = _no_worse(problem, plan, _united(plan, alike[0], position)) or plan
    return plan


def _with_fewer_replicas(problem: Problem, plan: Plan) -> Plan:
    """A valid plan with as few replicas of each deployment as it takes."""
    for position in range(len(plan.deployments)):
        while (replicas := plan.deployments[position].replicas) > 1:
            fewer = _no_worse(problem, plan, _with_replicas(plan, position, replicas - 1))
            if fewer is None:
                break
            plan = fewer
    return plan


def _no_worse(problem: Problem, plan: Plan, changed: Plan) -> Plan | None:
    """The changed plan with its value, if it is valid and of no greater value."""
    changed = valued(problem, changed)
    return None if changed.value > plan.value or violations(problem, changed) else changed


def _with_replicas(plan: Plan, position: int, replicas: int) -> Plan:
    deployments = list(plan.deployments)
    deployments[position] = replace(deployments[position], replicas=replicas)
    return replace(plan, deployments=tuple(deployments))


def _united(plan: Plan, into: int, gone: int) -> Plan:
    """The plan in which the replicas of one deployment belong to another one before it."""
    replicas = plan.deployments[into].replicas + plan.deployments[gone].replicas
    deployments = list(_with_replicas(plan, into, replicas).deployments)
    del deployments[gone]

    def moved(position: int | None) -> int | None:
        if position is None or position < gone:
            return position
        return into if position == gone else position - 1

    routes = tuple(
        replace(
            route,
            placements=tuple(
                replace(placement, deployment=moved(placement.deployment)) for placement in route.placements
            ),
        )
        for route in plan.routes
    )
    return replace(plan, deployments=tuple(deployments), routes=routes)


def _used(route: Route) -> list[int]:
    return [placement.deployment for placement in route.placements if placement.deployment is not None]
