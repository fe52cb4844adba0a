"""The event core: stations that serve jobs, links that carry them, and a tally of their outcomes.

Events are tuples on a heap. The core does not decide where a job goes: whoever sends jobs sets the callbacks
`Core.served`, `Core.lost` and `Core.landed`, which are told what became of each.
"""

from __future__ import annotations

import math
from array import array
from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any, TypeAlias

import numpy as np

from flowedge.planner.model.cluster import Cluster
from flowedge.simulate.scenario import Floats

Event: TypeAlias = tuple[float, int, Callable[[Any], None], Any]

SUCCESS, LATE, REJECTED, FULL, EXPIRED, NODE, LINK, LINK_FULL = range(8)
OUTCOMES = (
    "success",
    "late",
    "rejected",
    "dropped: queue full",
    "dropped: expired",
    "dropped: node down",
    "dropped: link down",
    "dropped: link full",
)
"""What became of a request: answered in time or late, refused by the dispatcher, or lost, and why."""


class LinkDirection:
    """One direction of a link. `free` is when it will have sent what it was given."""

    __slots__ = ("bytes", "delay", "free", "link", "second_per_byte")

    def __init__(self, link: LinkState, bandwidth: float, delay: float) -> None:
        self.link = link
        self.second_per_byte = 8 / bandwidth
        self.delay = delay
        self.free = 0.0
        self.bytes = 0.0


class LinkState:
    """A link. It works while `broken` is 0."""

    __slots__ = ("broken",)

    def __init__(self) -> None:
        self.broken = 0


class Path:
    """Directions of links, one after the other; jitter of `deviation` never takes off more than `delay`."""

    __slots__ = ("delay", "deviation", "directions")

    def __init__(self, directions: tuple[LinkDirection, ...], delay: float, deviation: float) -> None:
        self.directions = directions
        self.delay = delay
        self.deviation = deviation


class Station:
    """Something that serves: `slots` batches at a time, a queue in front. It works while `broken` is 0.

    `seconds` and `grows` (by application) make the mean time of a batch of n: seconds + (n - 1) grows. One
    slot is a `share` of its node.
    """

    __slots__ = (
        "batch",
        "broken",
        "busy",
        "drop_expired",
        "epoch",
        "grows",
        "half",
        "limit",
        "name",
        "node",
        "number",
        "oldest",
        "queue",
        "seconds",
        "served",
        "share",
        "sigma",
        "slots",
        "taken",
    )

    def __init__(self, name: str, node: int, number: int, seconds: list[float], deviation: float = 0.0) -> None:
        self.name = name
        self.node = node
        self.number = number
        self.seconds = seconds
        self.grows = [0.0] * len(seconds)
        self.slots = 1
        self.batch = 1
        self.limit = math.inf
        self.oldest = False
        self.drop_expired = False
        typical = max((mean for mean in seconds if mean == mean), default=1.0)
        # Log-normal with mean 1: exp(sigma z - sigma^2 / 2).
        self.half = math.log1p((deviation / typical) ** 2) / 2
        self.sigma = math.sqrt(2 * self.half)
        self.queue: deque[QueuedJob] = deque()
        self.taken = 0
        self.broken = 0
        self.epoch = 0
        self.busy = 0.0
        self.served = 0
        self.share = 1.0


class QueuedJob:
    """One query, or one frame on its way to one operator."""

    __slots__ = (
        "application",
        "back",
        "born",
        "due",
        "entered",
        "found",
        "hop",
        "noise",
        "of",
        "path",
        "size",
        "station",
        "there",
        "work",
    )

    def __init__(
        self,
        of: Any,
        application: int,
        born: float,
        due: float,
        size: float,
        work: float,
        noise: float,
        there: float,
        back: float,
    ) -> None:
        self.of = of
        self.application = application
        self.born = born
        self.due = due
        self.size = size
        self.work = work
        self.noise = noise
        self.there = there
        self.back = back
        self.hop = 0
        self.path: Path
        self.station: Station | None
        self.entered: float
        self.found: int


class QueryTally:
    """What became of every request, in columns: born (s), application, outcome, latency (s; nan if lost)."""

    __slots__ = ("application", "back", "born", "latency", "outcome")

    def __init__(self) -> None:
        self.born = array("d")
        self.application = array("H")
        self.outcome = array("B")
        self.latency = array("d")

    def add(self, born: float, application: int, outcome: int, latency: float = math.nan) -> None:
        """One request is over."""
        self.born.append(born)
        self.application.append(application)
        self.outcome.append(outcome)
        self.latency.append(latency)


class Core:
    """Time, events, stations and links. `waiting` and `in_flight` (per station) are what dispatchers see."""

    def __init__(self, cluster: Cluster, duration: float, link_queue: float, count: int = 0) -> None:
        self.now = 0.0
        self.duration = duration
        self.heap: list[Event] = []
        self.link_queue = link_queue
        self.stations: list[Station] = []
        self.waiting: Floats = np.zeros(count)
        self.in_flight: Floats = np.zeros(count)
        self.links = [LinkState() for _ in cluster.links]
        self.directions = [
            LinkDirection(self.links[number // 2], arc.bandwidth, arc.delay)
            for number, arc in enumerate(cluster.arcs)
        ]
        self.tally = QueryTally()
        self.served: Callable[[QueuedJob], None]
        self.lost: Callable[[QueuedJob, int], None]
        self.landed: Callable[[QueuedJob], None]
        self._count = 0

    def add(self, station: Station) -> None:
        """A new station; its number is its position."""
        self.stations.append(station)
        if len(self.waiting) < len(self.stations):
            self.waiting = np.append(self.waiting, 0.0)
            self.in_flight = np.append(self.in_flight, 0.0)

    def at(self, time: float, action: Callable[[Any], None], argument: Any = None) -> None:
        """Have something done later."""
        self._count += 1
        heappush(self.heap, (time, self._count, action, argument))

    def advance(self, until: float) -> None:
        """Does everything that is due before `until`."""
        heap = self.heap
        while heap and heap[0][0] < until:
            self.now, _, action, argument = heappop(heap)
            action(argument)

    def send(self, job: QueuedJob, path: Path, station: Station) -> None:
        """Puts a job on its way to a station."""
        job.path = path
        job.station = station
        self.in_flight[station.number] += 1
        if path.directions:
            job.hop = 0
            self.carry(job)
        else:
            self.enter(job)

    def transfer(self, job: QueuedJob, path: Path) -> None:
        """Puts a job on its way to no station: `landed` is told when it is there."""
        job.path = path
        job.station = None
        if path.directions:
            job.hop = 0
            self.carry(job)
        else:
            self.landed(job)

    def carry(self, job: QueuedJob) -> None:
        """The next link on the job's way takes it, first come first served."""
        path = job.path
        hop = job.hop
        direction = path.directions[hop]
        now = self.now
        if direction.link.broken:
            self._fail(job, LINK)
            return
        free = direction.free
        took = job.size * direction.second_per_byte
        if free < now:
            free = now
        elif (free - now) > self.link_queue * direction.second_per_byte:
            self._fail(job, LINK_FULL)
            return
        direction.free = free = free + took
        direction.bytes += job.size
        free += direction.delay
        job.hop = hop = hop + 1
        self._count += 1
        if hop < len(path.directions):
            heappush(self.heap, (free, self._count, self.carry, job))
            return
        if path.deviation:
            jitter = path.deviation * job.there
            free += jitter if jitter > -path.delay else -path.delay
            if free < now:
                free = now
        heappush(self.heap, (free, self._count, self.enter, job))

    def enter(self, job: QueuedJob) -> None:
        """The job has come to its station."""
        station = job.station
        if station is None:
            self.landed(job)
            return
        if station.broken:
            self._fail(job, NODE)
            return
        job.entered = self.now
        job.found = len(station.queue) + station.taken
        if station.taken < station.slots:
            station.taken += 1
            self._serve(station, [job])
            return
        number = station.number
        if len(station.queue) >= station.limit:
            if not (station.oldest and station.queue):
                self._fail(job, FULL)
                return
            self.waiting[number] -= 1
            self.lost(station.queue.popleft(), FULL)
        self.in_flight[number] -= 1
        self.waiting[number] += 1
        station.queue.append(job)

    def _serve(self, station: Station, jobs: list[QueuedJob]) -> None:
        """A free slot begins with a batch."""
        first = jobs[0]
        application = first.application
        took = station.seconds[application] * first.work
        if len(jobs) > 1:
            took += sum(station.grows[job.application] * job.work for job in jobs[1:])
        if station.sigma:
            took *= math.exp(station.sigma * first.noise - station.half)
        end = self.now + took
        if end <= self.duration:
            station.busy += took
        elif self.now < self.duration:
            station.busy += self.duration - self.now
        self._count += 1
        heappush(self.heap, (end, self._count, self._done, (station, jobs, station.epoch)))

    def _done(self, what: tuple[Station, list[QueuedJob], int]) -> None:
        """A slot is through with its batch."""
        station, jobs, epoch = what
        if epoch != station.epoch:
            return  # the node failed in the meantime
        number = station.number
        self.in_flight[number] -= len(jobs)
        station.served += len(jobs)
        if station.queue and station.taken <= station.slots:
            self._next(station)
        else:
            station.taken -= 1
        for job in jobs:
            self.served(job)

    def _next(self, station: Station) -> None:
        """A slot has become free: it takes what waits, up to a batch."""
        queue = station.queue
        jobs: list[QueuedJob] = []
        gone = 0
        while queue and len(jobs) < station.batch:
            job = queue.popleft()
            gone += 1
            if station.drop_expired and job.due < self.now:
                self.lost(job, EXPIRED)
            else:
                jobs.append(job)
        self.waiting[station.number] -= gone
        self.in_flight[station.number] += len(jobs)
        if jobs:
            self._serve(station, jobs)
        else:
            station.taken -= 1

    def widen(self, station: Station, slots: int) -> None:
        """Gives a station another number of slots; those that are too many end with what they serve."""
        station.slots = slots
        while station.queue and station.taken < slots and not station.broken:
            station.taken += 1
            self._next(station)

    def break_station(self, station: Station, what: list[QueuedJob]) -> None:
        """Takes a station down: all that it holds, in queue and in service (`what`), is lost."""
        station.epoch += 1
        station.taken = 0
        waiting = list(station.queue)
        station.queue.clear()
        self.waiting[station.number] = 0
        self.in_flight[station.number] -= len(what)
        for job in (*what, *waiting):
            self.lost(job, NODE)

    def in_service(self, station: Station) -> list[QueuedJob]:
        """What a station serves now."""
        done = self._done
        return [
            job
            for _, _, action, argument in sorted(self.heap)
            if action == done and argument[0] is station and argument[2] == station.epoch
            for job in argument[1]
        ]

    def _fail(self, job: QueuedJob, outcome: int) -> None:
        if job.station is not None:
            self.in_flight[job.station.number] -= 1
        self.lost(job, outcome)
