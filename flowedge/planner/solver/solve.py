"""`flowedge`, the default: column generation for the bound and the prices, whole cameras, local search.

Small problems are given to the compact programme of `exact` first; where that is proven to be the best, this is
the plan. Else:

1. Settings and services that others beat are left out, and cameras with equal rates at one node are one group.
2. `flowedge.planner.solver.column_generation` solves the relaxation, by label setting over the nodes.
3. `rounding` makes lots of whole cameras of it, and `insertion` finds room for those that have none.
4. `local_search` improves them, on the true waits and whole replicas.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from flowedge.planner.exact.exact import relaxation
from flowedge.planner.exact.infeasibility import conflict
from flowedge.planner.model.checker import violations
from flowedge.planner.model.plan import Plan, Reason
from flowedge.planner.model.prediction import predict
from flowedge.planner.model.problem import Problem
from flowedge.planner.options.columns import Network, better, network
from flowedge.planner.solver.column_generation import Master, Relaxation
from flowedge.planner.solver.insertion import Guide
from flowedge.planner.solver.instance import RESOURCES, Variant, variants
from flowedge.planner.solver.label_setting import Budget
from flowedge.planner.solver.local_search import improve, repair, settle, wander
from flowedge.planner.solver.partial_plan import Pools
from flowedge.planner.solver.rounding import guide, lots, place, plan, resume, whole
from flowedge.planner.solver.ways import Group, Way, grouped

_SECOND = 1.0e7  # work that takes about a second on one core of 2024
_PRICING = 0.4, 0.7  # share of all work for column generation, with few and with many groups
_START = 0.2  # share of what is left for each attempt to begin, with few groups
_INSISTENT = 3  # times the effort, where no attempt found a plan
_ATTEMPTS = 2  # made in any case, with few groups
_LEAST = 0.8, 4.0  # effort, in seconds, with few and with many groups
_PER_SECOND = 4, 28  # groups that are worth a second, with few and with many
_POLISH = 0.1  # share of all work for local search with many groups, where it gains little
_WIDE = 64  # nodes that are looked at where the nearest had no room
_REPAIRS = 200  # attempts to find room for the last cameras
_FAILURES = 300  # attempts to improve in a row that may fail
_CLOSE, _NEAR = 1e-4, 2e-3  # gaps at which column generation ends, with few and with many groups
_COMPACT = 2000  # variables up to which the compact programme is tried
_MOMENT = 0.3  # seconds for that
_SMALL = 3000  # stages x nodes x classes up to which a conflict is searched for by solving again


def flowedge(
    problem: Problem, start: Plan | None = None, *, effort: float | None = None, seed: int = 0
) -> Plan:
    """A good plan, with a bound, in about `effort` seconds of one core (measured in work, not by a clock).

    Where no plan is found in that, up to four times as much is spent. The same problem, effort and seed give
    the same plan everywhere, unless a small problem is not solved within a moment of the clock. `start` is the
    plan in force: the search begins there as well, so that the result is no worse as long as it still holds.
    """
    net = network(problem.cluster, problem.certainty)
    groups, of = grouped(problem)
    if not groups:
        return Plan("flowedge", value=0.0, bound=0.0)
    known = variants(problem, net)
    compact = Plan("flowedge", reason=Reason(("nothing was tried",), proven=False))
    if _choices(groups, known) <= _COMPACT:
        compact = _compact(problem, net)
        if (compact.gap is not None and compact.gap <= _CLOSE) or (compact.reason and compact.reason.proven):
            return better(problem, compact, start)
    master = Master(problem, net, known, groups, of)
    found = _searched(problem, master, start, effort, seed)
    bounds = [each.bound for each in (found, compact) if each.bound is not None]
    found = better(problem, found, compact)
    return better(problem, replace(found, bound=max(bounds, default=None) if found.found else None), start)


def _compact(problem: Problem, net: Network) -> Plan:
    """The plan of the compact programme, for a small problem."""
    solution, plan = relaxation(problem, net, time_limit=_MOMENT)
    if solution.state == "infeasible":
        return Plan("flowedge", reason=Reason(conflict(problem), proven=True))
    nothing = Plan("flowedge", reason=Reason(("the compact programme found nothing",), proven=False))
    return replace(better(problem, nothing, plan), bound=solution.bound)


def _choices(groups: Sequence[Group], known: Mapping[str, Sequence[Variant]]) -> int:
    """How many variables the compact programme has, about."""
    sizes = {name: sum(len(each) for way in ways for each in way.choices) for name, ways in known.items()}
    return sum(sizes[group.application] for group in groups)


def _searched(problem: Problem, master: Master, start: Plan | None, effort: float | None, seed: int) -> Plan:
    """The plan of column generation and local search."""
    many = master.many
    effort = max(_LEAST[many], len(master.groups) / _PER_SECOND[many]) if effort is None else effort
    pricing = _PRICING[many]
    budget = Budget(pricing * effort * _SECOND)
    found = master.solve(budget, gap=_NEAR if many else _CLOSE)
    if found.proven and found.missing > 0:
        return Plan("flowedge", reason=_reason(problem, found))
    work = (1 - pricing) * effort * _SECOND + max(0.0, budget.left)
    rng = random.Random(seed)
    first = _First(master, found, rng, work)
    first.attempts()
    if start is not None and start.found:
        first.resumed(start)
    best = first.best
    if best is None:
        nothing = f"no room was found for all cameras with effort {effort:g}"
        return Plan("flowedge", reason=Reason((nothing,), proven=False), bound=found.bound)
    begun = best.all()
    if many:
        best.budget = Budget(min(first.work, _POLISH * effort * _SECOND))
        tried = improve(best, master, first.steer, rng, rounds=_FAILURES, near=first.near)
    else:
        best.budget = Budget(first.work)
        tried = wander(best, master, first.steer, rng, bound=found.bound, rounds=_FAILURES, near=first.near)
    for state in (best.all(), begun):
        best.become(state)
        made = plan(best, master.of, "flowedge")
        made = replace(made, value=predict(problem, made).value, bound=found.bound, tried=tried)
        if not violations(problem, made):
            return made
    return Plan("flowedge", reason=Reason(("no plan was found that holds",), proven=False), bound=found.bound)


class _First:
    """The `best` of several first plans, the prices that led to it (`steer`), and the `work` that is left."""

    def __init__(self, master: Master, found: Relaxation, rng: random.Random, work: float) -> None:
        self.master, self.found, self.rng, self.work = master, found, rng, work
        self.prices = guide(master, found)
        self.best: Pools | None = None
        self.steer = self.prices
        self.near, self._wide = _near(master), _near(master, _WIDE)
        self._all = work
        self._limit = work * (1.0 if master.many else _START)

    def attempts(self) -> None:
        """Makes a few attempts, and more until one finds a plan; the first is the programme's, rounded."""
        rounded = whole(self.found, self.master)
        ways = _attempts(self.master.problem)
        for number, (blend, lean) in enumerate(ways):
            if self.best is not None and (number >= _ATTEMPTS or self.master.many):
                return
            self._attempt([] if number else rounded, blend, lean)
        if self.best is None:  # late is better than never, and the leanest is the likeliest
            self._limit *= _INSISTENT
            self.work += _INSISTENT * self._all
        for blend, lean in reversed(ways):
            if self.best is None:
                self._attempt([], blend, lean)

    def resumed(self, start: Plan) -> None:
        """Begins where an earlier plan is."""
        pools = self._pools()
        left = resume(pools, self.master, start)
        lost = place(pools, self.master, left, self.prices, near=self.near)
        self._keep(pools, lost, self.prices)

    def _attempt(self, rounded: list[tuple[Way, int]], blend: float, lean: float) -> None:
        master, prices = self.master, _leaner(self.master, self.found, self.prices, lean)
        pools = self._pools()
        lost = lots(pools, rounded)
        self.rng.shuffle(lost)
        if not lean:
            lost = place(pools, master, lost, prices, blend=blend, near=self.near)
        if lost:
            lost = place(pools, master, lost, prices, near=self._wide)
        lost = repair(pools, master, lost, prices, self.rng, rounds=_REPAIRS, near=self._wide)
        if not lost and not master.many:
            settle(pools)
        self._keep(pools, lost, prices)

    def _pools(self) -> Pools:
        self._given = min(self.work, self._limit)
        return Pools(self.master.problem, self.master.net, self.master.groups, Budget(self._given))

    def _keep(self, pools: Pools, lost: list[tuple[int, int]], prices: Guide) -> None:
        self.work -= self._given - pools.budget.left
        if not lost and (self.best is None or pools.value < self.best.value):
            self.best, self.steer = pools, prices


def _attempts(problem: Problem) -> list[tuple[float, float]]:
    """Blend and leanness; the first begins with the rounded optimum of the programme."""
    if problem.minimize == "utility" and problem.theta > 0:
        return [(0.0, lean) for lean in (0.0, 0.3, 3.0, 0.03, 30.0, 300.0)]
    return [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (0.5, 0.0), (0.0, 30.0), (0.0, 1000.0)]


def _near(master: Master, wide: int = 0) -> list[NDArray[np.bool_]]:
    """For each group, the nodes where ways have cameras of its node, and `wide` nodes that are the nearest."""
    nodes = {group.node for group in master.groups}
    masks = {node: master.nearest(node, wide).copy() for node in nodes}
    for way in master.ways:
        masks[master.groups[way.group].node][list(way.nodes)] = True
    if not master.many:  # they may share replicas anywhere
        return [np.any(list(masks.values()), axis=0)] * len(master.groups)
    return [masks[group.node] for group in master.groups]


def _leaner(master: Master, found: Relaxation, prices: Guide, lean: float) -> Guide:
    """Prices on which what a whole node has is worth `lean` times a camera more."""
    limits = np.array([[getattr(node, what) for what in RESOURCES] for node in master.problem.cluster.nodes])
    limits = np.where(np.isfinite(limits) & (limits > 0), limits, np.inf)
    camera = abs(found.value) / sum(group.cameras for group in master.groups)
    return Guide(prices.nodes + lean * camera / limits, prices.arcs)


def _reason(problem: Problem, found: Relaxation) -> Reason:
    """Why the programme has no solution: as few limits as can be shown, else those that its prices name."""
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
