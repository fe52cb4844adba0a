"""`flowedge`, the default: column generation for the bound and the prices, whole cameras, local search.

1. Settings and services that others beat are left out, and cameras with equal rates at one node are one group.
2. `flowedge.planner.strategies.master` solves the relaxation, by label setting over the nodes.
3. `rounding` makes lots of whole cameras of it, and `insertion` finds room for those that have none.
4. `local_search` improves them, on the true waits and whole replicas.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from flowedge.planner.checker import violations
from flowedge.planner.columns import better, network
from flowedge.planner.plan import Plan, Reason
from flowedge.planner.prediction import predict
from flowedge.planner.problem import Problem
from flowedge.planner.strategies.conflict import conflict
from flowedge.planner.strategies.insertion import Guide
from flowedge.planner.strategies.labels import Budget
from flowedge.planner.strategies.local_search import improve, repair
from flowedge.planner.strategies.master import Group, Master, Relaxation, grouped
from flowedge.planner.strategies.pools import Pools
from flowedge.planner.strategies.rounding import guide, lots, place, plan, resume, whole
from flowedge.planner.strategies.tables import variants

_SECOND = 1.0e7  # work that takes about a second on one core of 2024
_PRICING = 0.4, 0.6  # share of all work for column generation, with few and with many groups
_START = 0.15  # share of what is left for each attempt to begin; one will do for many
_PER_SECOND = 67  # groups that are worth a second
_POLISH = 0.1  # share of all work for local search with many groups, where it gains little
_REPAIRS = 200  # attempts to find room for the last cameras
_FAILURES = 300  # attempts to improve in a row that may fail
_CLOSE, _NEAR, _MANY = 1e-4, 2e-3, 50  # gaps at which column generation ends, the second for so many groups
_SMALL = 3000  # stages x nodes x classes up to which a conflict is searched for by solving again


def flowedge(
    problem: Problem, start: Plan | None = None, *, effort: float | None = None, seed: int = 0
) -> Plan:
    """A good plan, with a bound, in about `effort` seconds of one core (measured in work, not by a clock).

    The same problem, effort and seed give the same plan everywhere. `start` is the plan in force: the search
    begins there as well, so that the result is no worse as long as it still holds.
    """
    net = network(problem.cluster, problem.certainty)
    groups, of = grouped(problem)
    many = len(groups) > _MANY
    effort = max(1.0, len(groups) / _PER_SECOND) if effort is None else effort
    master = Master(problem, net, variants(problem, net), groups, of)
    pricing = _PRICING[many]
    budget = Budget(pricing * effort * _SECOND)
    found = master.solve(budget, gap=_NEAR if many else _CLOSE)
    if found.missing > 1e-6:
        return better(problem, Plan("flowedge", reason=_reason(problem, found)), start)
    work = _Work((1 - pricing) * effort * _SECOND + max(0.0, budget.left))
    rng = random.Random(seed)
    best, steer = _begin(problem, master, found, work, rng, start)
    if best is None:
        nothing = Reason((f"no room was found for all cameras with effort {effort:g}",), proven=False)
        return better(problem, Plan("flowedge", reason=nothing), start)
    best.budget = Budget(min(work.left, _POLISH * effort * _SECOND) if many else work.left)
    tried = improve(best, master, steer, rng, rounds=_FAILURES, near=_near(master))
    made = plan(best, of, "flowedge")
    made = replace(made, value=predict(problem, made).value, bound=found.bound, tried=tried)
    if wrong := violations(problem, made):
        made = Plan("flowedge", reason=Reason(wrong, proven=False))
    return better(problem, made, start)


@dataclass
class _Work:
    """What is left of all work."""

    left: float

    def part(self, share: float) -> Budget:
        return Budget(min(self.left, share))


def _begin(
    problem: Problem, master: Master, found: Relaxation, work: _Work, rng: random.Random, start: Plan | None
) -> tuple[Pools | None, Guide]:
    """The best of several first plans, and the prices that led to it."""
    best: Pools | None = None
    steer, near = guide(master, found), _near(master)
    used = steer
    limit = work.left * (_START if len(master.groups) <= _MANY else 1.0)
    for blend, lean, rounded in _attempts(problem):
        if best is not None and (lean or len(master.groups) > _MANY):
            break
        pools = Pools(problem, master.net, master.groups, work.part(limit))
        given = pools.budget.left
        leaner = _leaner(pools, master.groups, found, steer, lean)
        if rounded:
            left = lots(pools, whole(found, master))
        else:
            left = [(at, group.cameras) for at, group in enumerate(master.groups)]
            rng.shuffle(left)
        lost = place(pools, master, left, leaner, blend=blend, near=near)
        if lost and near:
            lost = place(pools, master, lost, leaner)
        lost = repair(pools, master, lost, leaner, rng, rounds=_REPAIRS)
        work.left -= given - pools.budget.left
        if not lost and (best is None or pools.value < best.value):
            best, used = pools, leaner
    if start is not None and start.found:
        pools = Pools(problem, master.net, master.groups, work.part(limit))
        left = resume(pools, master, start)
        if not place(pools, master, left, steer, near=near) and (best is None or pools.value < best.value):
            best, used = pools, steer
    return best, used


def _attempts(problem: Problem) -> Iterator[tuple[float, float, bool]]:
    """Blend, leanness, and whether to begin from the rounded optimum of the programme."""
    if problem.minimize == "utility" and problem.theta > 0:
        yield from ((0.0, lean, False) for lean in (0.3, 3.0, 0.03, 30.0, 300.0))
    else:
        yield from ((0.0, 0.0, True), (0.5, 0.0, False), (1.0, 0.0, False))
        yield from ((0.0, lean, False) for lean in (1.0, 30.0, 1000.0))


def _near(master: Master) -> list[NDArray[np.bool_] | None] | None:
    """For each of many groups, the nodes where columns put cameras of its node; None for all nodes."""
    if len(master.groups) <= _MANY:
        return None
    masks: dict[int, NDArray[np.bool_]] = {}
    for way in master.ways:
        at = master.groups[way.group].node
        masks.setdefault(at, np.zeros(len(master.net.fixed), bool))[list(way.nodes)] = True
    return [masks.get(group.node) for group in master.groups]


def _leaner(pools: Pools, groups: list[Group], found: Relaxation, steer: Guide, lean: float) -> Guide:
    """Prices on which what a whole node has is worth `lean` times a camera."""
    limits = np.where(np.isfinite(pools.limits) & (pools.limits > 0), pools.limits, np.inf)
    camera = abs(found.value) / sum(group.cameras for group in groups)
    return Guide(steer.nodes + lean * camera / limits, steer.arcs)


def _reason(problem: Problem, found: Relaxation) -> Reason:
    """Why the programme has no solution: as few limits as can be shown, else those that its prices name."""
    if not found.proven:
        return Reason((f"{found.missing:.3g} cameras found no way in the work allowed",), proven=False)
    stages = max(len(each.stages) for each in problem.applications)
    if stages * len(problem.cluster.nodes) * len(problem.classes) <= _SMALL:
        return Reason(conflict(problem), proven=True)
    cluster, words = problem.cluster, []
    for what, where in found.scarce:
        if what == "link":
            words.append(f"link {cluster.arcs[where].start} - {cluster.arcs[where].end}: its bandwidth")
        elif what == "singleton":
            words.append("a singleton's load")
        else:
            words.append(f"{cluster.nodes[where].name}: its {what}")
    goals = (each for each in problem.applications if each.latency < float("inf") or each.accuracy > 0)
    return Reason((*words, *(f"{each.name}: its latency and accuracy" for each in goals)), proven=True)
