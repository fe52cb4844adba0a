"""A dispatch policy over the replicas of a plan: it chooses the replica that takes each frame."""

from __future__ import annotations

import math
from time import thread_time

import numpy as np

from flowedge.dispatch import DispatchPolicy, Request, Workers, make
from flowedge.planner.model.cluster import Cluster
from flowedge.planner.model.plan import Plan
from flowedge.planner.model.profiles import Setting, holds
from flowedge.simulate.core import Core, Station
from flowedge.simulate.paths import Routing

MEMORY = 1.0
"""Seconds over which the rate of single queries at a worker is measured (exponentially weighted)."""


class Chooser:
    """Deployments are workers, and each operator under a setting is what dispatchers call an application.

    There is one policy object for each node where frames are dispatched; it lives longer than a plan.
    """

    def __init__(self, core: Core, network: Routing, cluster: Cluster, policy: str, seed: int) -> None:
        make(policy)
        self.decisions = 0
        self.deciding = 0.0
        self._core = core
        self._network = network
        self._cluster = cluster
        self._policy = policy
        self._seed = seed
        self._rows: dict[tuple[str, Setting], int] = {}
        self._policies: dict[int, tuple[DispatchPolicy, np.random.Generator]] = {}
        self._views: dict[int, Workers] = {}
        self._live: list[bool] = []
        self._stations: list[Station] = []
        self._workers: Workers
        self._measured = 0.0

    def adopt(self, plan: Plan, stations: list[Station]) -> None:
        """A plan is in force; its deployments are these stations."""
        for route in plan.routes:
            for placement in route.placements:
                if placement.deployment is not None:
                    key = plan.deployments[placement.deployment].operator, route.setting
                    self._rows.setdefault(key, len(self._rows))
        core, count = self._core, len(self._core.stations)
        seconds = np.full((len(self._rows), count), math.nan)
        capacity, slots = np.ones(count), np.ones(count)
        for deployment, station in zip(plan.deployments, stations, strict=True):
            service = deployment.service
            capacity[station.number] = deployment.replicas * service.rate
            slots[station.number] = deployment.replicas * service.batch
            for (operator, chosen), row in self._rows.items():
                if operator == deployment.operator and holds(service.setting, chosen):
                    seconds[row, station.number] = service.seconds
        nodes = [station.node for station in core.stations]
        tiers = [self._cluster.tiers.index(self._cluster.nodes[node].tier) for node in nodes]
        workers = Workers.idle(
            tiers, np.zeros(count), seconds, np.ones(seconds.shape), capacity, cluster=nodes, slots=slots
        )
        workers.waiting, workers.in_flight = core.waiting, core.in_flight
        self._workers = workers
        self._stations = stations
        self.learn()

    def learn(self) -> None:
        """Look again at which stations are in force and work, and at the delays to them."""
        live = {station.number for station in self._stations if not station.broken}
        self._live = [number in live for number in range(len(self._core.stations))]
        self._views.clear()

    def row(self, operator: str, chosen: Setting) -> int:
        """The number of an operator under a setting."""
        return self._rows[operator, chosen]

    def choose(self, node: int, row: int, deadline: float, size: float) -> Station | None:
        """Where a frame at a node goes next: `deadline` seconds are left, `size` bytes are to be sent."""
        if node not in self._views:
            self._views[node] = self._seen(node)
        policy, rng = self._dispatcher(node)
        workers, now = self._views[node], self._core.now
        load = workers.load
        load *= math.exp((self._measured - now) / MEMORY)
        self._measured = now
        begun = thread_time()
        worker = policy.choose(Request(row, deadline, size, arrival=now), workers, rng)
        self.deciding += thread_time() - begun
        self.decisions += 1
        if worker is None:
            return None
        load[worker] += 1 / MEMORY
        return self._core.stations[worker]

    def answered(self, node: int, row: int, station: Station, seconds: float, found: int) -> None:
        """A station has served a frame that was sent from a node."""
        policy, _ = self._dispatcher(node)
        policy.answered(Request(row, math.inf), self._workers, station.number, seconds, found)

    def _dispatcher(self, node: int) -> tuple[DispatchPolicy, np.random.Generator]:
        if node not in self._policies:
            policy = make(self._policy)
            self._policies[node] = policy, np.random.default_rng([self._seed, 3, node])
            if policy.period < math.inf:
                self._core.at(self._core.now + policy.period, self._window, node)
        return self._policies[node]

    def _window(self, node: int) -> None:
        policy, rng = self._policies[node]
        if node not in self._views:
            self._views[node] = self._seen(node)
        policy.window(self._views[node], rng)
        due = self._core.now + policy.period
        if due < self._core.duration:
            self._core.at(due, self._window, node)

    def _seen(self, node: int) -> Workers:
        paths = [self._network.path(node, station.node) for station in self._core.stations]
        # What cannot be reached is masked; its delay only has to be a number.
        view = self._workers.seen_from(
            np.array([0.0 if path is None else path.delay for path in paths]),
            np.array([0.0 if path is None else path.deviation for path in paths]),
        )
        view.up = np.array([live and path is not None for live, path in zip(self._live, paths, strict=True)])
        return view
