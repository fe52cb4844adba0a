"""Failures and repairs of nodes and links, at fixed or random times."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from flowedge.simulate.core import Core
from flowedge.simulate.scenario import Failure, Scenario

Change = tuple[str | tuple[str, str], int]
"""A node or link, and +1 where it fails, -1 where it is mended."""


def times(failure: Failure, duration: float, rng: np.random.Generator) -> list[tuple[float, float]]:
    """When a node or link is down: from when until when."""
    if failure.between is None or failure.repair is None:
        return [(failure.start, failure.end)] if failure.start < duration else []
    failures: list[tuple[float, float]] = []
    now = failure.start
    while True:
        now += rng.exponential(failure.between)
        if now >= min(failure.end, duration):
            return failures
        failures.append((now, now + rng.exponential(failure.repair)))
        now = failures[-1][1]


class FailureProcess:
    """Breaks and mends nodes and links of a core; `learned` is called when those who decide come to know."""

    def __init__(self, scenario: Scenario, core: Core, learned: Callable[[], None]) -> None:
        self.core = core
        self.nodes = [0] * len(scenario.cluster.nodes)
        """By node, how many of its failures last at the moment."""
        self._cluster = scenario.cluster
        self._detection = scenario.detection
        self._learned = learned
        for number, failure in enumerate(scenario.failures):
            rng = np.random.default_rng([scenario.seed, 2, number])
            for start, end in times(failure, scenario.duration, rng):
                core.at(start, self._change, (failure.target, 1))
                if end < scenario.duration:
                    core.at(end, self._change, (failure.target, -1))

    def _change(self, change: Change) -> None:
        target, step = change
        if isinstance(target, str):
            node = self._cluster.index[target]
            self.nodes[node] += step
            for station in self.core.stations:
                if station.node == node:
                    self._station(station.number, step)
        else:
            for number, link in enumerate(self._cluster.links):
                if {link.a, link.b} == set(target):
                    self.core.links[number].broken += step
        self.core.at(self.core.now + self._detection, self._tell)

    def _station(self, number: int, step: int) -> None:
        station = self.core.stations[number]
        station.broken += step
        if step > 0 and station.broken == 1:
            self.core.break_station(station, self.core.in_service(station))

    def _tell(self, _: object) -> None:
        self._learned()
