"""A plan under construction: lots of cameras on their ways, and the pools of replicas that serve them.

A pool is all replicas of one service of one stage on one node. Each lot is promised a longest wait in each of
its pools, such that it is in time if all promises are kept; a pool has the fewest replicas that keep them, by
`flowedge.planner.model.queueing`. So lots can be added and removed one by one, and what is there stays in time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from flowedge.planner.model.problem import Problem
from flowedge.planner.model.profiles import Service
from flowedge.planner.model.queueing import wait
from flowedge.planner.options.columns import Network
from flowedge.planner.solver.instance import RESOURCES, Floats, Variant
from flowedge.planner.solver.label_setting import Budget
from flowedge.planner.solver.ways import FEW, Group, Key, shipped

_SLACK = 1e-9
_KEPT = 100_000  # numbers of replicas that are remembered


@dataclass(frozen=True, eq=False)
class Lot:
    """`cameras` of a group that go one way, with the wait promised at each stage."""

    group: int
    cameras: int
    variant: Variant
    rows: tuple[int, ...]
    nodes: tuple[int, ...]
    promises: tuple[float, ...]
    latency: float


@dataclass
class Pool:
    """Replicas, and what they serve: frames a second, cameras, and the wait that each lot was promised."""

    replicas: int = 0
    load: float = 0.0
    streams: int = 0
    promised: dict[Lot, float] = field(default_factory=dict)


def replicas(
    service: Service, utilisation: float, load: float, streams: int, promise: float
) -> tuple[int, float]:
    """The fewest replicas at which so much load waits no longer than promised, and how long it does."""
    count = max(1, math.ceil(load / (utilisation * service.rate) - _SLACK))
    step = 1
    while (waits := wait_in(service, load, streams, count)) > promise * (1 + _SLACK):
        count += step
        step *= 2
    while step > 1:  # what doubling overshot
        step //= 2
        if wait_in(service, load, streams, count - step) <= promise * (1 + _SLACK):
            count -= step
            waits = wait_in(service, load, streams, count)
    return count, waits


def wait_in(service: Service, load: float, streams: int, count: int) -> float:
    """Seconds that frames wait for one of so many replicas."""
    used = load / (count * service.rate)
    return math.inf if used >= 1 else max(0.0, wait(used, service.seconds, service.deviation, count, streams))


class Pools:
    """The lots and pools of a problem; `value` is the objective, with every wait as long as promised."""

    def __init__(self, problem: Problem, net: Network, groups: Sequence[Group], budget: Budget) -> None:
        self.problem, self.net, self.groups, self.budget = problem, net, groups, budget
        self.lots: dict[int, dict[Lot, None]] = {number: {} for number in range(len(groups))}
        self.pools: dict[str, dict[tuple[int, Service], Pool]] = {}
        nodes = problem.cluster.nodes
        self.free: Floats = np.array([[getattr(node, what) for what in RESOURCES] for node in nodes])
        self.limits = self.free.copy()
        self.band = np.array([arc.bandwidth for arc in problem.cluster.arcs])
        self.singletons = {each.name for app in problem.applications for each in app.stages if each.singleton}
        self.hasty = problem.minimize == "utility" and problem.theta > 0
        self.few = len(groups) <= FEW
        self.value = 0.0
        self.tolls: dict[tuple[tuple[tuple[int, float], ...], int], Floats] = {}
        self._known: dict[tuple[int, float, int, float], tuple[int, float]] = {}
        self.anew: dict[tuple[int, float, int], tuple[Floats, Floats]] = {}

    def longest(self, service: Service) -> float:
        """The wait that no load within the utilisation exceeds; what a singleton promises to all."""
        return wait(self.problem.utilisation, service.seconds, service.deviation)

    def served(self, lot: Lot) -> Iterator[tuple[int, Key]]:
        """The stages of a lot that a pool serves."""
        for at, (stage, choices, row) in enumerate(
            zip(lot.variant.application.stages, lot.variant.choices, lot.rows, strict=True)
        ):
            if not lot.variant.stays[at]:
                service = choices.services[row]
                if service is not None:
                    yield at, (stage.name, lot.nodes[at], service)

    def add(self, lot: Lot) -> None:
        """Puts a lot on its way, whether there is room for it or not."""
        self.lots[lot.group][lot] = None
        self._change(lot, 1)

    def remove(self, lot: Lot) -> None:
        """Takes a lot back."""
        del self.lots[lot.group][lot]
        self._change(lot, -1)

    def waits(self, lot: Lot) -> list[float]:
        """How long the frames of a lot wait at each stage."""
        found = [0.0] * len(lot.nodes)
        for at, (name, node, service) in self.served(lot):
            pool = self.pools[name][node, service]
            found[at] = wait_in(service, pool.load, pool.streams, pool.replicas)
            if name in self.singletons:
                found[at] = self.longest(service)
        return found

    def all(self) -> list[Lot]:
        """All lots."""
        return [lot for lots in self.lots.values() for lot in lots]

    def become(self, lots: Sequence[Lot]) -> None:
        """Changes the lots to these."""
        wanted = dict.fromkeys(lots)
        for lot in self.all():
            if lot not in wanted:
                self.remove(lot)
        for lot in lots:
            if lot not in self.lots[lot.group]:
                self.add(lot)

    def room(self) -> bool:
        """Whether no node and no link has more to bear than it can, and singletons are alone."""
        once = all(
            sum(pool.replicas for pool in self.pools.get(name, {}).values()) <= 1 for name in self.singletons
        )
        return once and not self.crowded() and bool((self.band >= -1e-6 * np.abs(self.band) - 1e-3).all())

    def crowded(self) -> list[int]:
        """The nodes that have more to bear than they can."""
        finite = np.where(np.isfinite(self.limits), self.limits, 0.0)
        return list(np.nonzero((self.free < -1e-7 * finite - 1e-9).any(axis=1))[0])

    def congested(self) -> list[int]:
        """The arcs that have more to bear than they can."""
        return list(np.nonzero(self.band < -1e-3)[0])

    def _change(self, lot: Lot, sign: int) -> None:
        rate = self.groups[lot.group].rate
        frames = rate * lot.cameras
        for at, (name, node, service) in self.served(lot):
            there = self.pools.setdefault(name, {})
            pool = there.setdefault((node, service), Pool())
            pool.load += sign * frames
            pool.streams += sign * lot.cameras
            choices = lot.variant.choices[at]
            before = pool.replicas
            if sign > 0:
                pool.promised[lot] = lot.promises[at]
            else:
                del pool.promised[lot]
            if pool.promised:
                promise = min(pool.promised.values())
                pool.replicas, _ = self.replicas(service, pool.load, pool.streams, promise)
            else:
                pool.replicas = 0
                del there[node, service]
            more = pool.replicas - before
            if more:
                self.free[node] -= more * choices.needs[lot.rows[at]]
            self.value += more * float(choices.reserve[lot.rows[at]])
            self.value += sign * frames * float(choices.frame[lot.rows[at]])
        for arc, size in shipped(self.problem, lot.variant, lot.nodes):
            self.band[arc] -= sign * 8 * size * frames
        if self.problem.minimize == "utility":
            self.value += sign * lot.cameras * (self.problem.theta * lot.latency - lot.variant.accuracy)

    def replicas(self, service: Service, load: float, streams: int, promise: float) -> tuple[int, float]:
        """As the function `replicas`, at the problem's utilisation; kept, since much is asked again."""
        key = id(service), round(load, 6), streams, promise
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= _KEPT:
                self._known.clear()
            found = self._known[key] = replicas(service, self.problem.utilisation, key[1], streams, promise)
        return found

    def lot(
        self,
        group: int,
        cameras: int,
        variant: Variant,
        rows: Sequence[int],
        nodes: Sequence[int],
        waits: Sequence[float],
    ) -> Lot | None:
        """A lot that is promised these waits, and what is left of its time; None if too late.

        What is left is dealt out by service times, since at equal loads waits are in proportion to them; with
        many groups in equal parts, as pools are then so large that nobody waits long. Where latency is part of
        the objective nothing is left.
        """
        latency = self.latency(variant, rows, nodes, waits)
        goal = variant.application.latency
        if latency > goal * (1 + _SLACK):
            return None
        parts = [
            (float(choices.seconds[row]) if self.few else 1.0) if self._served(variant, at, row) else 0.0
            for at, (choices, row) in enumerate(zip(variant.choices, rows, strict=True))
        ]
        total = sum(parts)
        spare = 0.0 if self.hasty or not total else max(0.0, goal - latency) / total
        promises = tuple(wait + spare * part if part else wait for wait, part in zip(waits, parts, strict=True))
        return Lot(group, cameras, variant, tuple(rows), tuple(nodes), promises, latency)

    def _served(self, variant: Variant, at: int, row: int) -> bool:
        return not variant.stays[at] and variant.choices[at].services[row] is not None

    def latency(
        self, variant: Variant, rows: Sequence[int], nodes: Sequence[int], waits: Sequence[float]
    ) -> float:
        done: list[float] = []
        fixed, per_byte = self.net.fixed, self.net.per_byte
        for at, inputs in enumerate(variant.inputs):
            ready = 0.0
            for name in inputs:
                start, end = nodes[name], nodes[at]
                sent = 0.0 if start == end else fixed[start, end] + variant.sizes[name] * per_byte[start, end]
                ready = max(ready, done[name] + float(sent))
            if self._served(variant, at, rows[at]):
                ready += float(variant.choices[at].seconds[rows[at]]) + waits[at]
            done.append(ready)
        return max(done)
