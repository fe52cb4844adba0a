"""How long frames are on their way through a graph, frame by frame: a simulation of a few seconds.

Cameras are periodic, and often in step with one another: the wait of a frame is made of the very frames that
come before it, which no formula for random arrivals knows (of N cameras in step the mean wait is (N - 1) / 2
service times at any load). The phases of the cameras are known, so their next frames are too; a step serves
them as the runtime does: the newest of each camera, in turn, some of them together, and with a goal none that
would miss it. Steps follow one another and share nothing here: that they slow each other down is in their
measured times.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from flowedge.graph.contract import Operator, Source
from flowedge.graph.graph import Graph
from flowedge.plane.deadline import MARGIN, WAITED
from flowedge.runtime.regions import regions

MOST_FRAMES = 400
"""Frames that are simulated at most: about 2 ms of Python for each step that takes any time."""

NO_QUEUE = 0.03
"""Nobody waits at a station that takes less than this share of a frame's service."""

ROUNDS = 12
"""Frames of the slowest camera that are simulated, unless those of the others are too many."""

SKIPPED = 0.25
"""The share of the simulated time whose frames do not count: they find no queue."""


@dataclass(frozen=True)
class Station:
    """Steps of a graph with one queue before them: they work on up to `batch` frames of it at a time.

    `feeders` are the places, in a sequence of stations, of those whose results it takes; none for one that is
    fed by cameras. Frames of other sources than `sources` do not come there; without any, all do.
    """

    steps: tuple[str, ...]
    feeders: tuple[int, ...] = ()
    batch: int = 1
    sources: frozenset[str] = frozenset()


def stations(graph: Graph) -> tuple[Station, ...]:
    """The stations of a graph: every step but the sources, and as one those which one frame at a time passes.

    >>> from flowedge.operators import Detect, NonMaxMerge, Null, Resize, Slice, video
    >>> graph = Graph("sliced")
    >>> video(graph, "street://") >> Slice(2) >> Detect("street") >> NonMaxMerge() >> Null()
    >>> for station in stations(graph): print(station.steps, station.feeders)
    ('Decode',) ()
    ('Slice', 'Detect') (0,)
    ('NonMaxMerge',) (1,)
    ('Null',) (2,)
    """
    single = [region.steps for region in regions(graph) if region.depth(graph) == 1]
    sources = {node.name for node in graph.nodes if isinstance(node.step, Source)}
    together: dict[str, frozenset[str]] = {name: steps for steps in single for name in steps}
    ordered: list[frozenset[str]] = []
    for node in graph.nodes:
        if node.name not in sources:
            steps = together.get(node.name, frozenset({node.name}))
            if steps not in ordered:
                ordered.append(steps)
    place = {name: index for index, steps in enumerate(ordered) for name in steps}
    made = []
    for index, steps in enumerate(ordered):
        nodes = [node for node in graph.nodes if node.name in steps]
        feeders = {place[name] for node in nodes for name in node.feeders if name in place} - {index}
        step = nodes[0].step
        batch = step.batch if len(nodes) == 1 and isinstance(step, Operator) else 1
        before = frozenset.union(*(graph.upstream(node.name) for node in nodes)) & sources
        fed_by = before if before != sources else frozenset[str]()
        made.append(Station(tuple(node.name for node in nodes), tuple(sorted(feeders)), batch, fed_by))
    return tuple(made)


@dataclass(frozen=True)
class Camera:
    """`rate` frames a second, one of them at `phase` (s); `service` are the seconds that a frame takes at each
    station, 0 where it does not wait for others."""

    rate: float
    phase: float
    service: Sequence[float]


@dataclass(frozen=True)
class Passed:
    """Of the frames that were simulated: the latencies (s) of those delivered, in order, and their share."""

    latencies: Sequence[float]
    delivered: float

    @property
    def mean(self) -> float:
        """The mean latency of the delivered frames; infinite without any."""
        return sum(self.latencies) / len(self.latencies) if self.latencies else math.inf

    def quantile(self, share: float) -> float:
        """The latency that this share (0..1) of the delivered frames do not exceed; infinite without any."""
        if not self.latencies:
            return math.inf
        return self.latencies[min(len(self.latencies) - 1, math.ceil(share * len(self.latencies)) - 1)]


def passed(
    cameras: Sequence[Camera],
    chain: Sequence[Station],
    *,
    spread: Sequence[Sequence[float]] = (),
    goal: float = math.inf,
) -> Passed:
    """Send some seconds of frames of these cameras through the stations.

    `spread` has, for every station, equally likely factors of its service times; `goal` is the latency (s) that
    frames which waited must keep or give way.

    >>> chain = [Station(("Detect",))]
    >>> together = [Camera(2.0, 0.0, [0.05])] * 4
    >>> sorted({round(value, 2) for value in passed(together, chain).latencies})
    [0.05, 0.1, 0.15, 0.2]
    >>> apart = [Camera(2.0, 0.1 * number, [0.05]) for number in range(4)]
    >>> {round(value, 2) for value in passed(apart, chain).latencies}
    {0.05}
    """
    frames = _frames(cameras)
    ready: list[list[float]] = []
    rest = [_rest(chain, camera.service) for camera in cameras]
    for index, station in enumerate(chain):
        comes = [
            max((ready[feeder][number] for feeder in station.feeders), default=at)
            for number, (at, _) in enumerate(frames)
        ]
        service = [camera.service[index] for camera in cameras]
        if all(own <= NO_QUEUE * max(way) for own, way in zip(service, rest, strict=True)):
            ready.append([at + service[camera] for at, (_, camera) in zip(comes, frames, strict=True)])
            continue
        factors = _drawn(spread[index] if spread else ())
        queue = _Queue(station.batch, goal, [seconds[index] for seconds in rest])
        ready.append(queue.served(frames, comes, service, factors))
    last = [index for index in range(len(chain)) if not any(index in other.feeders for other in chain)]
    begun = (1 - SKIPPED) * frames[0][0] + SKIPPED * frames[-1][0]
    ended = [
        max((ready[index][number] for index in last), default=at) - at
        for number, (at, _) in enumerate(frames)
        if at >= begun
    ]
    delivered = sorted(latency for latency in ended if latency < math.inf)
    return Passed(delivered, len(delivered) / max(1, len(ended)))


def _frames(cameras: Sequence[Camera]) -> list[tuple[float, int]]:
    """When frames come, and of which camera: in the order of time."""
    seconds = ROUNDS / min(camera.rate for camera in cameras)
    seconds = min(seconds, max(1.0, MOST_FRAMES / sum(camera.rate for camera in cameras)))
    frames = []
    for number, camera in enumerate(cameras):
        period = 1 / camera.rate
        first = camera.phase % period
        frames += [(first + count * period, number) for count in range(max(1, round(seconds * camera.rate)))]
    return sorted(frames)


def _rest(chain: Sequence[Station], service: Sequence[float]) -> list[float]:
    """The seconds from the beginning of each station's work to the end of the last station's."""
    rest = [0.0] * len(chain)
    for index in reversed(range(len(chain))):
        behind = [rest[later] for later, station in enumerate(chain) if index in station.feeders]
        rest[index] = service[index] + max(behind, default=0.0)
    return rest


def _drawn(values: Sequence[float]) -> Iterator[float]:
    """The values at random, but the same in every simulation; 1 where there are none."""
    chance = random.Random(1)
    while True:
        yield chance.choice(values) if values else 1.0


@dataclass(frozen=True)
class _Queue:
    """The newest frame of each camera in turn, up to `batch` together; `rest` are the seconds from there to the
    end, by camera."""

    batch: int
    goal: float
    rest: Sequence[float]

    def served(
        self,
        frames: Sequence[tuple[float, int]],
        comes: Sequence[float],
        service: Sequence[float],
        factors: Iterator[float],
    ) -> list[float]:
        """When each frame has been served; infinity for one that is not."""
        works = [service[camera] > 0 for _, camera in frames]
        done = [math.inf if works[number] else at for number, at in enumerate(comes)]
        order = sorted((at, number) for number, at in enumerate(comes) if at < math.inf and works[number])
        waiting: dict[int, int] = {}  # camera -> frame
        first: list[int] = []  # cameras that have the next turn
        now, next_ = 0.0, 0
        while waiting or next_ < len(order):
            if not waiting:
                now = max(now, order[next_][0])
            while next_ < len(order) and order[next_][0] <= now:
                number = order[next_][1]
                waiting[frames[number][1]] = number
                next_ += 1
            taken = self._taken(waiting, first, frames, comes, now, service)
            if taken:
                now += next(factors) * sum(service[frames[number][1]] for number in taken)
                for number in taken:
                    done[number] = now
        return done

    def _taken(
        self,
        waiting: dict[int, int],
        first: list[int],
        frames: Sequence[tuple[float, int]],
        comes: Sequence[float],
        now: float,
        service: Sequence[float],
    ) -> list[int]:
        taken: list[int] = []
        work, oldest = 0.0, math.inf
        for camera in sorted(waiting, key=lambda camera: camera not in first):
            number = waiting[camera]
            captured = min(oldest, frames[number][0])
            late = now + work + self.rest[camera] > captured + (1 - MARGIN) * self.goal
            if late and taken:
                break
            del waiting[camera]
            if camera in first:
                first.remove(camera)
            if late and now - comes[number] >= WAITED * self.goal:
                first.append(camera)
                continue
            taken.append(number)
            work, oldest = work + service[camera], captured
            if len(taken) == self.batch:
                break
        return taken
