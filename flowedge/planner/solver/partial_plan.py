"""A plan under construction: assignments of cameras, and the pools of replicas that serve them.

A pool is all replicas of one service of one stage on one node. Each assignment has a limit to its wait in each
of its pools, such that it is in time if all limits hold; a pool has the fewest replicas that keep the limits of
all its assignments, by `flowedge.planner.model.profiles.Service.mean_wait`. So assignments can be added and
removed one by one, and the others stay in time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from flowedge.planner.model.prediction import longest_path
from flowedge.planner.model.problem import Problem
from flowedge.planner.model.profiles import Service
from flowedge.planner.options.delays import Delays
from flowedge.planner.solver.instance import (
    RESOURCES,
    Configuration,
    Floats,
    Group,
    PoolKey,
    arcs_used,
    fixed_costs,
)
from flowedge.planner.solver.tuning import TOLERANCE, Budget, tuning_for


@dataclass(frozen=True, eq=False)
class Assignment:
    """`cameras` of a group, and for each stage a row of its choices, a node and a limit to the wait."""

    group: int
    cameras: int
    configuration: Configuration
    rows: tuple[int, ...]
    nodes: tuple[int, ...]
    wait_limits: tuple[float, ...]
    latency: float


@dataclass
class Pool:
    """Replicas, and what they serve: frames a second, cameras, and the limit to each assignment's wait."""

    replicas: int = 0
    load: float = 0.0
    streams: int = 0
    wait_limits: dict[Assignment, float] = field(default_factory=dict)


def replicas(
    service: Service, utilisation: float, load: float, streams: int, wait_limit: float
) -> tuple[int, float]:
    """The fewest replicas at which so much load waits no longer than the limit, and how long it does."""
    count = max(1, math.ceil(load / (utilisation * service.rate) - TOLERANCE))
    step = 1
    while (waits := wait_in(service, load, streams, count)) > wait_limit * (1 + TOLERANCE):
        count += step
        step *= 2
    while step > 1:  # what doubling overshot
        step //= 2
        if wait_in(service, load, streams, count - step) <= wait_limit * (1 + TOLERANCE):
            count -= step
            waits = wait_in(service, load, streams, count)
    return count, waits


def wait_in(service: Service, load: float, streams: int, count: int) -> float:
    """Seconds that frames wait for one of so many replicas."""
    used = load / (count * service.rate)
    return math.inf if used >= 1 else max(0.0, service.mean_wait(used, count, streams))


class PartialPlan:
    """The assignments and pools of a problem; `value` is the objective, with every wait at its limit."""

    def __init__(self, problem: Problem, delays: Delays, groups: Sequence[Group], budget: Budget) -> None:
        self.problem, self.delays, self.groups, self.budget = problem, delays, groups, budget
        self.assignments: dict[int, dict[Assignment, None]] = {number: {} for number in range(len(groups))}
        self.pools: dict[str, dict[tuple[int, Service], Pool]] = {}
        nodes = problem.cluster.nodes
        self.free: Floats = np.array([[getattr(node, what) for what in RESOURCES] for node in nodes])
        self.limits = self.free.copy()
        self.fixed_costs = fixed_costs(problem)
        self.pool_counts = np.zeros(len(nodes), np.int64)
        self.band = np.array([arc.bandwidth for arc in problem.cluster.arcs])
        self.singletons = {
            stage.name for app in problem.applications for stage in app.stages if stage.singleton
        }
        self.latency_counts = problem.latency_counts
        self.tuning = tuning_for(len(groups))
        self.value = 0.0
        self.byte_prices: dict[tuple[tuple[tuple[int, float], ...], int], Floats] = {}
        self._known: dict[tuple[int, float, int, float], tuple[int, float]] = {}
        self.new_pool_levels: dict[tuple[int, float, int], tuple[Floats, Floats]] = {}

    def longest(self, service: Service) -> float:
        """The wait that no load within the utilisation exceeds: the wait limit of all that use a singleton."""
        return service.mean_wait(self.problem.utilisation)

    def served(self, assignment: Assignment) -> Iterator[tuple[int, PoolKey]]:
        """The stages of an assignment that a pool serves."""
        for at, (stage, choices, row) in enumerate(
            zip(
                assignment.configuration.application.stages,
                assignment.configuration.choices,
                assignment.rows,
                strict=True,
            )
        ):
            if not assignment.configuration.follows_input[at]:
                service = choices.services[row]
                if service is not None:
                    yield at, (stage.name, assignment.nodes[at], service)

    def add(self, assignment: Assignment) -> None:
        """Add an assignment, whether there is room for it or not."""
        self.assignments[assignment.group][assignment] = None
        self._change(assignment, 1)

    def remove(self, assignment: Assignment) -> None:
        """Remove an assignment."""
        del self.assignments[assignment.group][assignment]
        self._change(assignment, -1)

    def waits(self, assignment: Assignment) -> list[float]:
        """How long the frames of an assignment wait at each stage."""
        seconds = [0.0] * len(assignment.nodes)
        for at, (name, node, service) in self.served(assignment):
            pool = self.pools[name][node, service]
            seconds[at] = wait_in(service, pool.load, pool.streams, pool.replicas)
            if name in self.singletons:
                seconds[at] = self.longest(service)
        return seconds

    def all(self) -> list[Assignment]:
        """All assignments."""
        return [assignment for assignments in self.assignments.values() for assignment in assignments]

    def restore(self, assignments: Sequence[Assignment]) -> None:
        """Make these the assignments of the plan."""
        wanted = dict.fromkeys(assignments)
        for assignment in self.all():
            if assignment not in wanted:
                self.remove(assignment)
        for assignment in assignments:
            if assignment not in self.assignments[assignment.group]:
                self.add(assignment)

    def feasible(self) -> bool:
        """Whether no node and no link is overloaded, and no singleton runs twice."""
        once = all(
            sum(pool.replicas for pool in self.pools.get(name, {}).values()) <= 1 for name in self.singletons
        )
        return (
            once and not self.overloaded_nodes() and bool((self.band >= -1e-6 * np.abs(self.band) - 1e-3).all())
        )

    def overloaded_nodes(self) -> list[int]:
        """The nodes whose replicas need more than they have."""
        finite = np.where(np.isfinite(self.limits), self.limits, 0.0)
        return list(np.nonzero((self.free < -1e-7 * finite - 1e-9).any(axis=1))[0])

    def overloaded_arcs(self) -> list[int]:
        """The arcs that carry more than their bandwidth."""
        return list(np.nonzero(self.band < -1e-3)[0])

    def _change(self, assignment: Assignment, sign: int) -> None:
        rate = self.groups[assignment.group].rate
        frames = rate * assignment.cameras
        for at, (name, node, service) in self.served(assignment):
            pools = self.pools.setdefault(name, {})
            pool = pools.setdefault((node, service), Pool())
            pool.load += sign * frames
            pool.streams += sign * assignment.cameras
            choices = assignment.configuration.choices[at]
            before = pool.replicas
            if not pool.wait_limits:
                self._count_pool(node, 1)
            if sign > 0:
                pool.wait_limits[assignment] = assignment.wait_limits[at]
            else:
                del pool.wait_limits[assignment]
            if pool.wait_limits:
                wait_limit = min(pool.wait_limits.values())
                pool.replicas, _ = self.replicas(service, pool.load, pool.streams, wait_limit)
            else:
                pool.replicas = 0
                del pools[node, service]
                self._count_pool(node, -1)
            more = pool.replicas - before
            if more:
                self.free[node] -= more * choices.needs[assignment.rows[at]]
            self.value += more * float(choices.reserve[assignment.rows[at]])
            self.value += sign * frames * float(choices.frame[assignment.rows[at]])
        for arc, size in arcs_used(self.problem, assignment.configuration, assignment.nodes):
            self.band[arc] -= sign * 8 * size * frames
        if self.problem.minimize == "utility":
            self.value += (
                sign
                * assignment.cameras
                * (self.problem.theta * assignment.latency - assignment.configuration.accuracy)
            )

    def _count_pool(self, node: int, change: int) -> None:
        """One pool more or less on a node, which pays its fixed cost from its first pool to its last."""
        unused = not self.pool_counts[node]
        self.pool_counts[node] += change
        if unused:
            self.value += float(self.fixed_costs[node])
        elif not self.pool_counts[node]:
            self.value -= float(self.fixed_costs[node])

    def opening_costs(self) -> Floats:
        """By node, what its first replica adds to the objective; nothing where there is one already."""
        return np.where(self.pool_counts > 0, 0.0, self.fixed_costs)

    def replicas(self, service: Service, load: float, streams: int, wait_limit: float) -> tuple[int, float]:
        """As the function `replicas`, at the problem's utilisation; kept, since most are needed again."""
        key = id(service), round(load, 6), streams, wait_limit
        result = self._known.get(key)
        if result is None:
            if len(self._known) >= self.tuning.remembered:
                self._known.clear()
            result = self._known[key] = replicas(service, self.problem.utilisation, key[1], streams, wait_limit)
        return result

    def assignment(
        self,
        group: int,
        cameras: int,
        configuration: Configuration,
        rows: Sequence[int],
        nodes: Sequence[int],
        waits: Sequence[float],
    ) -> Assignment | None:
        """An assignment whose wait limits are these waits and parts of its spare time; None if it is late.

        The time to spare is divided by service times, since at equal loads waits are in proportion to them;
        with many groups in equal parts, as pools are then so large that nobody waits long. Where latency is
        part of the objective, no time is spare.
        """
        latency = self.latency(configuration, rows, nodes, waits)
        goal = configuration.application.latency
        if latency > goal * (1 + TOLERANCE):
            return None
        parts = [
            (float(choices.seconds[row]) if self.tuning.few else 1.0)
            if self._served(configuration, at, row)
            else 0.0
            for at, (choices, row) in enumerate(zip(configuration.choices, rows, strict=True))
        ]
        total = sum(parts)
        spare = 0.0 if self.latency_counts or not total else max(0.0, goal - latency) / total
        wait_limits = tuple(
            wait + spare * part if part else wait for wait, part in zip(waits, parts, strict=True)
        )
        return Assignment(group, cameras, configuration, tuple(rows), tuple(nodes), wait_limits, latency)

    def _served(self, configuration: Configuration, at: int, row: int) -> bool:
        return not configuration.follows_input[at] and configuration.choices[at].services[row] is not None

    def latency(
        self, configuration: Configuration, rows: Sequence[int], nodes: Sequence[int], waits: Sequence[float]
    ) -> float:
        """Seconds along the longest path, with these waits."""
        own = [
            float(choices.seconds[row]) + wait if self._served(configuration, at, row) else 0.0
            for at, (choices, row, wait) in enumerate(zip(configuration.choices, rows, waits, strict=True))
        ]
        fixed, per_byte, sizes = self.delays.fixed, self.delays.per_byte, configuration.sizes

        def sent(before: int, after: int) -> float:
            start, end = nodes[before], nodes[after]
            return 0.0 if start == end else float(fixed[start, end] + sizes[before] * per_byte[start, end])

        return longest_path(configuration.inputs, own, sent)[0]
