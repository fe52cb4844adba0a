"""The default strategy: `flowedge`, whose steps `flowedge.planner.solver` describes on one page."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from flowedge.planner.exact.exact import relaxation
from flowedge.planner.exact.infeasibility import conflict
from flowedge.planner.model.checker import better, violations
from flowedge.planner.model.plan import Plan, Reason
from flowedge.planner.model.prediction import valued
from flowedge.planner.model.problem import Problem
from flowedge.planner.options.delays import path_delays
from flowedge.planner.solver.column_generation import ColumnGeneration, Relaxation
from flowedge.planner.solver.insertion import Prices, insert_all
from flowedge.planner.solver.instance import RESOURCES, configurations, group_cameras
from flowedge.planner.solver.local_search import descend, iterated_local_search, ruin_and_recreate
from flowedge.planner.solver.master_problem import Column
from flowedge.planner.solver.partial_plan import PartialPlan
from flowedge.planner.solver.repair import repair
from flowedge.planner.solver.rounding import add_rounded, resource_prices, round_columns
from flowedge.planner.solver.translate import add_plan, to_plan
from flowedge.planner.solver.tuning import FEW_GROUPS, Budget


def flowedge(
    problem: Problem, start: Plan | None = None, *, effort: float | None = None, seed: int = 0
) -> Plan:
    """A good plan, with a bound, in about `effort` seconds of one core.

    Effort is counted in work, not by a clock, and the compact programme of a small problem is bounded by nodes
    of branch and bound: the same problem, effort and seed give the same plan, whatever else the machine does.
    Where no plan is found, up to four times the effort is spent. `start` is the plan in force: the search
    begins there as well, so that the result is no worse as long as that plan still holds.
    """
    delays = path_delays(problem.cluster, problem.certainty)
    groups, of = group_cameras(problem)
    if not groups:
        return Plan("flowedge", value=0.0, bound=0.0)
    by_application = configurations(problem, delays)
    compact = Plan("flowedge", reason=Reason(("nothing was tried",), proven=False))
    # About as many variables as the compact programme has.
    size = sum(configuration.size for group in groups for configuration in by_application[group.application])
    if size <= FEW_GROUPS.compact_variables:
        nodes, work = FEW_GROUPS.compact_nodes, FEW_GROUPS.compact_work
        compact = relaxation(problem, delays, "flowedge", node_limit=nodes, work_limit=work)
        optimal = compact.gap is not None and compact.gap <= FEW_GROUPS.gap
        if optimal or (compact.reason and compact.reason.proven):
            return better(problem, compact, start)
    master = ColumnGeneration(problem, delays, by_application, groups, of)
    plan = _searched(problem, master, start, effort, seed)
    bounds = [candidate.bound for candidate in (plan, compact) if candidate.bound is not None]
    plan = better(problem, plan, compact)
    return better(problem, replace(plan, bound=max(bounds, default=None) if plan.found else None), start)


def _searched(
    problem: Problem, master: ColumnGeneration, start: Plan | None, effort: float | None, seed: int
) -> Plan:
    """The plan of column generation, rounding and local search."""
    tuning = master.tuning
    if effort is None:
        effort = max(tuning.least_effort, len(master.groups) / tuning.groups_per_second)
    work = effort * tuning.work_per_second
    budget = Budget(tuning.pricing_share * work)
    relaxed = master.solve(budget, gap=tuning.gap)
    if relaxed.proven and relaxed.missing > 0:
        return Plan("flowedge", reason=_reason(problem, relaxed))
    rng = random.Random(seed)
    first = _Construction(master, relaxed, rng, (1 - tuning.pricing_share) * work + max(0.0, budget.left))
    first.attempt_all()
    if start is not None and start.found:
        first.resume(start)
    best = first.best
    if best is None:
        nothing = f"no room was found for all cameras with effort {effort:g}"
        return Plan("flowedge", reason=Reason((nothing,), proven=False), bound=relaxed.bound)
    constructed = best.all()
    best.budget = Budget(min(first.work, tuning.search_share * work))
    improve = iterated_local_search if tuning.few else ruin_and_recreate
    tried = improve(best, master, first.best_prices, rng, bound=relaxed.bound, near=first.near)
    for assignments in (best.all(), constructed):
        best.restore(assignments)
        plan = valued(problem, to_plan(best, master.of, "flowedge"))
        plan = replace(plan, bound=relaxed.bound, tried=tried)
        if not violations(problem, plan):
            return plan
    return Plan("flowedge", reason=Reason(("no plan was found that holds",), proven=False), bound=relaxed.bound)


class _Construction:
    """The `best` of several first plans, the prices that led to it, and the `work` that is left."""

    def __init__(self, master: ColumnGeneration, relaxed: Relaxation, rng: random.Random, work: float) -> None:
        self.master, self.relaxed, self.rng, self.work = master, relaxed, rng, work
        self.tuning = master.tuning
        self.prices = resource_prices(master, relaxed)
        self.best: PartialPlan | None = None
        self.best_prices = self.prices
        self.near, self._wide = _near(master), _near(master, self.tuning.wide)
        self._all = work
        self._limit = work * self.tuning.start_share

    def attempt_all(self) -> None:
        """Make a few attempts, and more until one finds a plan; the first rounds the programme's optimum."""
        rounded = round_columns(self.relaxed, self.master)
        attempts = _attempts(self.master.problem)
        for number, (blend, lean) in enumerate(attempts):
            if self.best is not None and number >= self.tuning.attempts:
                return
            self._attempt([] if number else rounded, blend, lean)
        if self.best is None:  # late is better than never, and the leanest is the likeliest
            self._limit *= self.tuning.insistence
            self.work += self.tuning.insistence * self._all
        for blend, lean in reversed(attempts):
            if self.best is None:
                self._attempt([], blend, lean)

    def resume(self, start: Plan) -> None:
        """Begin at an earlier plan."""
        partial = self._empty()
        unplaced = add_plan(partial, self.master, start)
        unplaced = insert_all(partial, self.master, unplaced, self.prices, near=self.near)
        self._keep(partial, unplaced, self.prices)

    def _attempt(self, rounded: list[tuple[Column, int]], blend: float, lean: float) -> None:
        master, prices = self.master, _leaner(self.master, self.relaxed, self.prices, lean)
        partial = self._empty()
        unplaced = add_rounded(partial, rounded)
        self.rng.shuffle(unplaced)
        if not lean:
            unplaced = insert_all(partial, master, unplaced, prices, blend=blend, near=self.near)
        if unplaced:
            unplaced = insert_all(partial, master, unplaced, prices, near=self._wide)
        unplaced = repair(partial, master, unplaced, prices, self.rng, near=self._wide)
        if not unplaced and self.tuning.few:
            descend(partial)
        self._keep(partial, unplaced, prices)

    def _empty(self) -> PartialPlan:
        budget = Budget(min(self.work, self._limit))
        return PartialPlan(self.master.problem, self.master.delays, self.master.groups, budget)

    def _keep(self, partial: PartialPlan, unplaced: list[tuple[int, int]], prices: Prices) -> None:
        self.work -= partial.budget.spent
        if not unplaced and (self.best is None or partial.value < self.best.value):
            self.best, self.best_prices = partial, prices


def _attempts(problem: Problem) -> list[tuple[float, float]]:
    """Blend and leanness; the first begins with the rounded optimum of the programme."""
    if problem.latency_counts:
        return [(0.0, lean) for lean in (0.0, 0.3, 3.0, 0.03, 30.0, 300.0)]
    return [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (0.5, 0.0), (0.0, 30.0), (0.0, 1000.0)]


def _near(master: ColumnGeneration, wide: int = 0) -> list[NDArray[np.bool_]]:
    """For each group, the nodes that columns of its node use, and the `wide` nearest ones."""
    nodes = {group.node for group in master.groups}
    masks = {node: master.nearest(node, wide).copy() for node in nodes}
    for column in master.columns:
        masks[master.groups[column.group].node][list(column.nodes)] = True
    if master.tuning.few:  # they may share replicas anywhere
        return [np.any(list(masks.values()), axis=0)] * len(master.groups)
    return [masks[group.node] for group in master.groups]


def _leaner(master: ColumnGeneration, relaxed: Relaxation, prices: Prices, lean: float) -> Prices:
    """Prices on which what a whole node has is worth `lean` times a camera more."""
    limits = np.array([[getattr(node, what) for what in RESOURCES] for node in master.problem.cluster.nodes])
    limits = np.where(np.isfinite(limits) & (limits > 0), limits, np.inf)
    camera = abs(relaxed.value) / sum(group.cameras for group in master.groups)
    return Prices(prices.nodes + lean * camera / limits, prices.arcs)


def _reason(problem: Problem, relaxed: Relaxation) -> Reason:
    """Why the programme has no solution: as few limits as can be shown, else those that its prices name."""
    stages = max(len(application.stages) for application in problem.applications)
    if stages * len(problem.cluster.nodes) * len(problem.classes) <= FEW_GROUPS.conflict_size:
        return Reason(conflict(problem), proven=True)
    cluster, words = problem.cluster, []
    for what, where in relaxed.scarce:
        if what == "link":
            words.append(f"link {cluster.arcs[where].start} - {cluster.arcs[where].end}: its bandwidth")
        elif what == "singleton":
            words.append("a singleton's load")
        else:
            words.append(f"{cluster.nodes[where].name}: its {what}")
    goals = (
        application
        for application in problem.applications
        if application.latency < float("inf") or application.accuracy > 0
    )
    return Reason(
        (*words, *(f"{application.name}: its latency and accuracy" for application in goals)), proven=True
    )
