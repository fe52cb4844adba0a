"""Which of several graphs run where a machine has too few cores for all: ST-LAS's queue, second by second.

All run while they have room. When for some seconds they want more cores than there are, `admission` decides
by least attained service: those that come first run, as many as fit, and the others are preempted. A graph
that has had its turn makes room for one that has had less. Demands are measured while graphs run, and kept
while they wait. Nothing here knows of processes: the time and what was measured are given.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from flowedge.runtime.controller.admission import (
    Job,
    LeastAttained,
    Worker,
    advanced,
    decide,
    reviewed,
    size,
    started,
    stopped,
)
from flowedge.runtime.demand import Demand

TURN_SECONDS = 20.0
"""After which a graph that uses all cores makes room for one that has had less; one that uses half of them
after twice as long. A switch costs a live camera about a second, in which operators are set up."""

PATIENCE = 1.0
"""A graph that had its turn comes first again when it has waited so many times as long as it ran. With 1, two
graphs take turns of equal length; the simulator's 8 would have a camera blind for minutes."""

ROOM = 1.1
"""How many cores may be wanted for each that there is: what cameras lose to so little want is not worth that
one of them sees nothing at all."""

BUSY = 0.85
"""The share of the cores that must be used for the machine to be full: a graph also loses frames to an operator
that works on one at a time, and waits for a moment even where there is room."""

LEAST_CORES = 0.25
"""What graphs can have at least, however much other programs take: they are served like these."""

WINDOW = 5
"""How many looks are averaged, and how many in a row must find the machine full: less is a burst, and graphs
that adapt have given way by then."""

SETTLING_SECONDS = 3.0
"""After a graph begins or goes on, in which what it takes says nothing: models load, decoders catch up."""

TOGETHER_SECONDS = 120.0
"""For how long graphs that were found not to fit together are taken to want what they did then: alone, each
loses no frames and wants less."""


@dataclass(frozen=True)
class Switch:
    """A graph is to run from now on, or to wait, and why."""

    name: str
    runs: bool
    reason: str


@dataclass
class _Graph:
    """What is known of a graph: the last looks at it, and what it wanted when the machine was full."""

    job: Job
    since: float
    looks: deque[Demand] = field(default_factory=lambda: deque(maxlen=WINDOW))
    floor: float = 0.0
    floor_until: float = 0.0

    def used(self) -> float:
        return sum(look.used for look in self.looks) / len(self.looks) if self.looks else 0.0

    def wanted(self) -> float:
        return sum(look.wanted for look in self.looks) / len(self.looks) if self.looks else 0.0

    @property
    def live(self) -> bool:
        return bool(self.looks) and self.looks[-1].live


class Sharing:
    """Decides which of the graphs `names`, the most important first, run on so many cores; not thread-safe.

    All run in the beginning. `now` is in seconds of any clock that does not go back. `cores` is how many there
    are before more is known.

    >>> sharing = Sharing(["a", "b"], cores=2, now=0.0)
    >>> both = {"a": Demand(1.0, 1.8, True), "b": Demand(1.0, 1.5, True)}
    >>> [switch for now in range(20) for switch in sharing.look(float(now), both)]
    [Switch(name='b', runs=False, reason='the graphs want 3.3 cores and can have 2.0')]
    """

    def __init__(self, names: Sequence[str], cores: float, now: float) -> None:
        self._free: deque[float] = deque([cores], maxlen=WINDOW)
        self._policy = LeastAttained(TURN_SECONDS, PATIENCE)
        self._looked = now
        self._full = 0
        # They came one after the other, as they stand on the command line.
        self._graphs = {
            name: _Graph(Job(name, ((0.0,),), now + 1e-6 * place, placement=(0,)), now)
            for place, name in enumerate(names)
        }

    def ended(self, name: str) -> None:
        """A graph is over."""
        self._graphs.pop(name, None)

    def began(self, name: str, now: float) -> None:
        """A graph is at work, which took some time to set up."""
        if name in self._graphs:
            self._graphs[name].since = now

    def look(self, now: float, measured: Mapping[str, Demand], cores: float | None = None) -> list[Switch]:
        """What is to change now, by what was measured of the graphs since the last call about a second ago.

        `cores` is how many other programs have left for them since then, as before if that is not known.
        """
        self._free.append(self._free[-1] if cores is None else max(cores, LEAST_CORES))
        self._note(now, measured)
        jobs = {name: graph.job for name, graph in self._graphs.items()}
        crowded = self._crowded(now)
        if not crowded and all(job.running for job in jobs.values()):
            return []
        jobs = reviewed(self._policy, jobs, now)
        # One that runs stays where it is: where not all can, everybody is admitted anew.
        asking = [replace(job, placement=()) if crowded else job for job in jobs.values()]
        chosen = decide(self._policy, asking, (Worker("here", (ROOM * self._cores,)),))
        switches = self._switches(jobs, chosen)
        for name, job in jobs.items():
            graph = self._graphs[name]
            if name in chosen and not job.running:
                graph.job, graph.since = started(job, chosen[name]), now
                graph.looks.clear()
            else:
                graph.job = stopped(job, 0.0) if job.running and name not in chosen else job
        return switches

    @property
    def _cores(self) -> float:
        """The cores that the graphs can have."""
        return sum(self._free) / len(self._free)

    def _note(self, now: float, measured: Mapping[str, Demand]) -> None:
        """Bring the accounts of all graphs up to date."""
        seconds, self._looked = now - self._looked, now
        waiting = any(not graph.job.running for graph in self._graphs.values())
        for name, graph in self._graphs.items():
            job = graph.job
            if job.running and name in measured and now - graph.since >= SETTLING_SECONDS:
                graph.looks.append(measured[name])
            if waiting:
                job = advanced(job, seconds, self._size(job))
            else:  # what was had while there was enough for all counts for nothing
                job = replace(job, queue=1, executed=0.0, attained=0.0, waited=0.0)
            graph.job = job
        for graph in self._graphs.values():
            if graph.looks:
                graph.job = replace(graph.job, parts=((self._need(graph, now),),))

    def _need(self, graph: _Graph, now: float) -> float:
        """The cores that a graph needs; one that is not live needs none of those that live ones want."""
        live = [other for other in self._graphs.values() if other.live]
        if graph.live or not live:
            need = graph.wanted()
        else:
            need = graph.used() if any(other.job.running for other in live) else 0.0
        return min(self._cores, max(need, graph.floor if now < graph.floor_until else 0.0))

    def _crowded(self, now: float) -> bool:
        """Whether those that run have wanted more than there is for some looks in a row."""
        running = [graph for graph in self._graphs.values() if graph.job.running]
        wanted = sum(graph.job.parts[0][0] for graph in running)
        full = (
            len(running) > 1
            and all(graph.looks for graph in running)
            and wanted > ROOM * self._cores
            and sum(graph.used() for graph in running) >= BUSY * self._cores
        )
        self._full = self._full + 1 if full else 0
        if self._full < WINDOW:
            return False
        self._full = 0
        for graph in running:
            graph.floor, graph.floor_until = graph.job.parts[0][0], now + TOGETHER_SECONDS
        return True

    def _size(self, job: Job) -> float:
        return size(job.parts, (Worker("here", (self._cores,)),))

    def _switches(self, jobs: Mapping[str, Job], chosen: Mapping[str, object]) -> list[Switch]:
        begin = [name for name, job in jobs.items() if name in chosen and not job.running]
        end = [name for name, job in jobs.items() if name not in chosen and job.running]
        wanted = sum(job.parts[0][0] for job in jobs.values() if job.running)
        full = f"the graphs want {wanted:.1f} cores and can have {self._cores:.1f}"
        turn = f"it is the turn of {' and '.join(begin)}, which had less of the cores" if begin else full
        room = f"it had less of the cores than {' and '.join(end)}" if end else "there is room for it"
        # First those that make room.
        return [
            *(Switch(name, False, turn) for name in end),
            *(Switch(name, True, room) for name in begin),
        ]
