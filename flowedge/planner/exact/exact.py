"""`exact`: the compact programme, solved to its optimum by HiGHS.

First it is solved as a relaxation in which nobody waits and the cameras of a class may mix. Its value bounds
every plan, and its plan is the optimum if it passes the checker as it is. Else it is solved with the waits of
`flowedge.planner.options.columns.offers`, and with cameras in lots that each take one route. Replicas are then
set to what the predicted waits really need. What the value of the best plan and the bound differ by is the gap.
That there is no plan is proven where the relaxation has none.
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
from flowedge.planner.exact.polish import polished
from flowedge.planner.model.checker import better
from flowedge.planner.model.plan import Plan, Reason
from flowedge.planner.model.problem import Problem
from flowedge.planner.options.delays import Delays, path_delays
from flowedge.planner.options.routes import assemble

_OPTIMAL = 1e-4  # a gap that counts as none
_ROUNDS = 5  # programmes that share the time


def exact(problem: Problem, start: Plan | None = None, *, time_limit: float = 60.0) -> Plan:
    """The best plan, and how far from the best it may be, in about `time_limit` seconds.

    HiGHS looks at the clock now and then only, so that one programme may take longer than its part of the
    time; the later ones then have less, or are not begun.
    """
    end = time.monotonic() + time_limit
    delays = path_delays(problem.cluster, problem.certainty)
    solution, plan = relaxation(problem, delays, time_limit=time_limit / _ROUNDS)
    if solution.state == "infeasible":
        return Plan("exact", reason=Reason(conflict(problem), proven=True))
    found = Plan("exact", reason=Reason((f"no plan was found in {time_limit:g} s",), proven=False))
    found = better(problem, better(problem, found, plan), start)
    if not _proven(found, solution.bound):
        for plan in _waiting(problem, delays, time_limit / _ROUNDS, end):
            found = better(problem, found, plan)
            if _proven(found, solution.bound):
                break
    return replace(found, bound=solution.bound if found.found else None)


def relaxation(
    problem: Problem,
    delays: Delays,
    *,
    time_limit: float = math.inf,
    node_limit: int | None = None,
    work_limit: float = math.inf,
) -> tuple[Solution, Plan | None]:
    """The solution in which nobody waits and cameras may mix, and its plan with as many replicas as the waits
    need; that need not be valid.

    With a `work_limit`, see `IntegerProgramme.work`, a programme that would take more is not solved, and the
    bound is that of its linear relaxation.
    """
    formulation = Formulation(problem, delays, waits=False)
    if work_limit < math.inf:
        linear = formulation.model.solve(relaxed=True)
        if linear.values is None or formulation.model.work(linear.values) > work_limit:
            return replace(linear, state="unknown" if linear.values is not None else linear.state), None
    solution = formulation.model.solve(time_limit=time_limit, node_limit=node_limit)
    return solution, _plan(problem, formulation, solution)


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


def _plan(problem: Problem, formulation: Formulation, solution: Solution) -> Plan | None:
    if solution.values is None:
        return None
    return polished(problem, assemble(problem, "exact", formulation.columns(solution.values)))


def _lots(plan: Plan) -> dict[str, list[int]]:
    """How many cameras of each class go together."""
    found: dict[str, list[int]] = defaultdict(list)
    for route in plan.routes:
        found[route.camera_class].append(route.cameras)
    return {name: sorted(lots, reverse=True) for name, lots in found.items()}


def _proven(plan: Plan, bound: float) -> bool:
    gap = replace(plan, bound=bound).gap
    return gap is not None and gap <= _OPTIMAL
