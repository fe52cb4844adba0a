"""Which operators work in worker processes because of Python's global lock (GIL): pure functions.

A process can use the lock for one second in a second. Operators that hold it for more than that together wait
for each other, whatever cores there are; on workers they do not. A worker costs as well: values go there and
come back (a hop), which takes the lock and the processor on both sides. So operators move only where that
serves clearly more frames, and neighbours of a chain stay together.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from flowedge.graph.contract import State
from flowedge.graph.graph import Graph
from flowedge.runtime.routes import chains_of, movable

UTILISATION = 0.7
"""The share of the time that the lock of a process may be taken by live frames: more, and they wait for it."""

MARGIN = 1.15
"""How many times as much must be served by moving: a forecast is off by some percent, and hops add latency."""

NEARLY = 0.95
"""Fewer workers are taken where they serve as much as that of what more of them would."""

HOP_HELD = 0.0008
"""Seconds for which the lock is taken on either side by a value that goes to a worker and its result."""

HOP_WORK = 0.002
"""Core-seconds that this takes in all, without pictures: 2.3 ms at 200 values a second, 1.5 ms at 400, on two
cores that have other work, as when Python is the limit (in a loop that does nothing else, 0.7 ms)."""

HOP_PIXEL_WORK = 8e-10
"""Further core-seconds for every pixel that is taken: 1.7 ms for a picture of 1080p that goes there."""

LIGHT_SECONDS = 0.001
"""An operator that takes less is moved with its neighbours, as that saves a hop."""

CLEARLY = 1.02
"""How many times as much another placement must serve to be taken for better."""

MOST_WORKERS = 8
"""More are not tried: the process of the run, through which all values go, has its limit then."""

Workers = Mapping[str, tuple[str, ...]]
"""The workers of each operator that is not in the process of the run."""


@dataclass(frozen=True)
class Load:
    """What an operator takes of a value by itself, and how many values a second it gets.

    `seconds` from taking it to giving its result, `work` core-seconds, and `held` seconds with the lock.
    `pixels` of what it takes and gives. It `moves` only if its values can be sent to another process.
    `copies`: by how many processes its work can be shared, e.g. one for each camera; None for any number.
    """

    rate: float
    seconds: float
    work: float
    held: float
    pixels: float = 0.0
    moves: bool = True
    copies: int | None = None


@dataclass(frozen=True)
class Placement:
    """The workers of operators, and how many times the present rates can be served so."""

    workers: Workers = field(default_factory=dict)
    serves: float = math.inf


def capacity(graph: Graph, loads: Mapping[str, Load], workers: Workers, cores: float) -> float:
    """How many times the present rates can be served with these workers.

    No process can have the lock, no operator work, and no core be used for more than a second in a second.
    """
    locks: defaultdict[str, float] = defaultdict(float)
    threads: defaultdict[tuple[str, str], float] = defaultdict(float)
    work = 0.0
    for head, chain in _threads(graph, loads, workers):
        places = workers.get(head, ())
        for name in chain:
            load = loads[name]
            work += load.rate * load.work
            # What holds the lock takes as long as that, however long it waited for a core when measured.
            busy = load.held if 2 * load.held > load.work else load.seconds
            for place in places or ("",):
                share = _share(load, len(places)) if places else 1.0
                locks[place] += load.rate * load.held * share
                threads[head, place] += load.rate * busy * share
        if places:
            rate, pixels = loads[head].rate, max(loads[name].pixels for name in chain)
            work += rate * (HOP_WORK + HOP_PIXEL_WORK * pixels)
            locks[""] += rate * HOP_HELD
            for place in places:
                locks[place] += rate * HOP_HELD / len(places)
    most = max([work / cores, *locks.values(), *threads.values()], default=0.0)
    return 1 / most if most else math.inf


def placement(graph: Graph, loads: Mapping[str, Load], *, cores: int, demand: float = math.inf) -> Placement:
    """The workers with which `demand` times the present rates can be served, or nearly as much as can be.

    `demand` is infinite for files, whose frames wait for nobody; live frames get a part of each lock's time
    only (`UTILISATION`). Nothing moves where that suffices already, or where moving serves less than `MARGIN`
    times as much.

    >>> from flowedge.operators import Null, Resize, video
    >>> graph = Graph("tiny")
    >>> video(graph, "street://") >> Resize(640) >> Resize(320, name="Smaller") >> Null()
    >>> busy = Load(rate=50, seconds=0.01, work=0.01, held=0.01)
    >>> placement(graph, {"Resize": busy, "Smaller": busy}, cores=2).workers
    {'Smaller': ('python-1',)}
    >>> placement(graph, {"Resize": busy, "Smaller": busy}, cores=1).workers
    {}
    """
    here = _placed(graph, loads, {}, cores)
    needed = demand / UTILISATION
    if here.serves >= needed:
        return here
    names = tuple(f"python-{number}" for number in range(1, min(cores, MOST_WORKERS) + 1))
    found = [_best(graph, loads, names[: count + 1], cores) for count in range(len(names))]
    most = max(made.serves for made in found)
    if most < MARGIN * here.serves:
        return here
    enough = min(needed, NEARLY * most)
    return next(made for made in found if made.serves >= enough)


def _best(graph: Graph, loads: Mapping[str, Load], names: tuple[str, ...], cores: float) -> Placement:
    """The best that can be had from a few beginnings by moving one operator after the other."""
    able = [node.name for node in graph.nodes if node.name in loads and _may_move(graph, node.name, loads)]
    heavy = [name for name in able if loads[name].seconds >= LIGHT_SECONDS]
    everywhere: list[tuple[str, ...]] = [(), names]
    keyed = [*everywhere, *((name,) for name in names)]  # whose state need not be evenly spread
    moves = [
        (name, option) for name in able for option in (everywhere if loads[name].copies is None else keyed)
    ]
    # What serves most goes first: of several that serve as much, that with all together on all workers, which
    # leaves the process of the run to its cameras and sinks.
    best = _placed(graph, loads, {}, cores)
    for begin in (dict.fromkeys(able, names), dict.fromkeys(heavy, names), {}):
        made = _placed(graph, loads, begin, cores)
        better = True
        while better:
            better = False
            for name, option in moves:
                changed = {place: at for place, at in {**made.workers, name: option}.items() if at}
                other = _placed(graph, loads, changed, cores)
                if other.serves > CLEARLY * made.serves:
                    made, better = other, True
        if made.serves > CLEARLY * best.serves:
            best = made
    return best


def _placed(graph: Graph, loads: Mapping[str, Load], workers: Workers, cores: float) -> Placement:
    return Placement(workers, capacity(graph, loads, workers, cores))


def _may_move(graph: Graph, name: str, loads: Mapping[str, Load]) -> bool:
    """Whether it makes sense to move an operator: what releases the lock while it works has no need to."""
    step, load = graph.node(name).step, loads[name]
    keeps = step.state is State.NONE or (step.state is State.PER_CAMERA and step.has_snapshot)
    return (
        load.moves and movable(step) and keeps and (2 * load.held >= load.work or load.seconds < LIGHT_SECONDS)
    )


def _threads(graph: Graph, loads: Mapping[str, Load], workers: Workers) -> Iterator[tuple[str, Sequence[str]]]:
    """What works in one thread of a process: a chain on workers, or one operator."""
    yield from chains_of(graph, workers).items()
    yield from ((name, [name]) for name in loads if name not in workers)


def _share(load: Load, places: int) -> float:
    """The share of its values that the busiest of the workers gets."""
    if load.copies is None:
        return 1 / places
    return math.ceil(load.copies / places) / load.copies if load.copies else 1.0
