"""What was measured of a running graph, as a planner needs it."""

from __future__ import annotations

import statistics
from collections import Counter

from flowedge.graph.contract import Gather, Split
from flowedge.graph.graph import Graph
from flowedge.monitor.histogram import Histogram
from flowedge.runtime.controller.adaptation import NEARLY_ALL, Load, Situation
from flowedge.runtime.controller.queueing import stations
from flowedge.runtime.measuring import Window
from flowedge.runtime.run import Run

RATE_WEIGHT = 0.5
"""Of the last window in the frames a second of a camera."""

TENTHS = tuple((number + 0.5) / 10 for number in range(10))
"""The quantiles that stand for a distribution of service times."""

ALIKE = 0.03
"""Cameras whose rates differ by less than this share have the same: else a forecast has them drift apart."""


EXPECTED = 2.0
"""A window in which fewer frames of a camera were to be expected does not say that it is slower now."""


class Observation:
    """Makes a `Situation` of windows of a run whose goal is a latency (s); remembers the rates of cameras."""

    def __init__(self, run: Run, goal: float) -> None:
        self._run = run
        self._graph = run.graph
        self._goal = goal
        self._stations = stations(run.graph)
        self._rates: dict[str, float] = {}
        self._captured: dict[str, float] = {}

    def note(self, window: Window) -> None:
        """Frames a second of every camera, over some windows: in one, a slow camera may give none at all."""
        usual = self._usual
        for camera, rate in window.cameras.items():
            before = self._rates.get(camera, 0.0)
            if rate.interval > 0:
                latest = 1 / rate.interval
            elif rate.produced and not before:
                latest = usual or rate.produced  # one frame tells no interval
            elif before * window.seconds < EXPECTED:
                latest = before or rate.produced
            else:
                latest = rate.produced
            self._rates[camera] = before + RATE_WEIGHT * (latest - before) if before else latest
            self._captured[camera] = rate.captured

    @property
    def _usual(self) -> float:
        """The median rate of the cameras, 0 where none is known."""
        known = list(filter(None, self._rates.values()))
        return statistics.median(known) if known else 0.0

    def situation(self, window: Window) -> Situation | None:
        """What the window says of the live cameras; None while it says too little."""
        cameras = self.live_cameras()
        usual = self._usual
        load = Load.of(
            (
                self.application(source),
                usual if abs(rate - usual) <= ALIKE * usual else rate,
                self._captured.get(camera, 0.0),
            )
            for source, camera in cameras
            if (rate := self._rates.get(camera))
        )
        latency = window.latency.quantile(NEARLY_ALL)
        if latency is None or not load.rates:
            return None
        ways = [self._run.routes.of(camera) for _, camera in cameras]
        used = Counter(way.setting for way in ways)
        alone = not any(way.workers for way in ways)
        mix = {setting: count / used.total() for setting, count in used.items()}
        seen = [window.cameras[camera] for _, camera in cameras if camera in window.cameras]
        return Situation(
            used.most_common(1)[0][0], by_frame(self._graph, window), load.rates, latency, mix, load.phases,
            {name: spread_of(times) for name, times in window.times.items()},
            sum(rate.lost for rate in seen) / max(sum(rate.produced for rate in seen), 1e-9),
            window.latency.mean() or 0.0, window.cores if alone else 0.0, self._stations, self._goal,
        )  # fmt: skip

    def application(self, source: str) -> str:
        """The planner's name for what begins at a source."""
        graph = self._graph
        return graph.name if len(graph.sources()) == 1 else f"{graph.name}.{source}"

    def live_cameras(self) -> list[tuple[str, str]]:
        """Pairs of a source and a live camera that runs."""
        return [pair for pair in self._run.cameras() if self._run.is_live(pair[1])]


def spread_of(times: Histogram) -> list[float]:
    """Equally likely factors of the mean of some durations; none where there are too few to tell."""
    mean = times.mean()
    if mean is None or len(times) < len(TENTHS):
        return []
    values = [value or mean for value in times.quantiles(TENTHS)]
    return [value * len(values) / sum(values) for value in values]


def by_frame(graph: Graph, window: Window) -> dict[str, float]:
    """Mean seconds a frame by operator, also where it sees every tile of a frame by itself."""
    seconds = dict(window.service)
    splits: dict[str, str] = {}  # the split that cut what a step sees
    for node in graph.nodes:
        if isinstance(node.step, Split):
            splits[node.name] = node.name
        elif not isinstance(node.step, Gather):
            for split in {splits[name] for name in node.feeders if name in splits}:
                splits[node.name] = split
                if node.name in seconds and split in window.rates:
                    seconds[node.name] *= window.rates[node.name] / window.rates[split]
    return seconds
