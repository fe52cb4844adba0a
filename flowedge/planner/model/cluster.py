"""Machines and the network between them, as plain data.

>>> cluster = Cluster(
...     ("edge", "cloud"),
...     (Node("jetson", "edge", "orin", cores=4), Node("server", "cloud", "xeon", cores=32)),
...     (Link("jetson", "server", bandwidth=30e6, delay=0.004),),
... )
>>> [cluster.arcs[index].delay for index in cluster.path("jetson", "server")]
[0.004]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowedge.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Power:
    """A linear model of a node's power, in watts: `idle`, and what each busy core and a wholly busy GPU add.

    A plan pays the whole idle power of every node that it uses. A `shared` node runs for others as well: of its
    idle power a plan pays the share of the node that it reserves.
    """

    idle: float = 0.0
    core: float = 0.0
    gpu: float = 0.0
    shared: bool = False


@dataclass(frozen=True, slots=True)
class Node:
    """One machine. `kind` is the name of its hardware in profiles; `memory` is in bytes, `gpu` in GPUs.

    `price` is what the whole node costs for an hour, in any currency.
    """

    name: str
    tier: str
    kind: str
    cores: float
    gpu: float = 0.0
    memory: float = float("inf")
    power: Power = Power()
    price: float = 0.0


@dataclass(frozen=True, slots=True)
class Link:
    """A network between two nodes, alike in both directions, each with the whole `bandwidth` (bit/s).

    `delay` is one way in seconds and `deviation` its standard deviation.
    """

    a: str
    b: str
    bandwidth: float
    delay: float = 0.0
    deviation: float = 0.0


@dataclass(frozen=True, slots=True)
class Arc:
    """One direction of a link."""

    start: str
    end: str
    bandwidth: float
    delay: float
    deviation: float


@dataclass(frozen=True)
class Cluster:
    """Nodes in ordered `tiers` (nearest to the cameras first) and the links between them.

    Values travel along the path of least delay. Raises `ConfigError` for a name that is not there or twice,
    and for a capacity that is none.
    """

    tiers: tuple[str, ...]
    nodes: tuple[Node, ...]
    links: tuple[Link, ...] = ()
    _trees: dict[int, tuple[NDArray[np.float64], NDArray[np.int32]]] = field(
        default_factory=dict, init=False, repr=False, compare=False, hash=False
    )

    def __post_init__(self) -> None:
        if not self.nodes:
            raise ConfigError("nodes: a cluster needs at least one node")
        _unique("tiers", self.tiers)
        _unique("nodes", [node.name for node in self.nodes])
        for node in self.nodes:
            if node.tier not in self.tiers:
                raise ConfigError(f"{node.name}.tier: {node.tier!r} is none of {', '.join(self.tiers)}")
            for name in ("cores", "gpu", "memory", "price"):
                if not getattr(node, name) >= 0:
                    raise ConfigError(f"{node.name}.{name}: {getattr(node, name)!r} is not a number from 0")
        for link in self.links:
            for end in (link.a, link.b):
                if end not in self.index:
                    raise ConfigError(f"link {link.a} - {link.b}: there is no node {end!r}")
            if not (link.bandwidth > 0 and link.delay >= 0 and link.deviation >= 0):
                raise ConfigError(
                    f"link {link.a} - {link.b}: a bandwidth above 0, a delay and a deviation from 0 are "
                    f"needed, not {link.bandwidth:g} bit/s, {link.delay:g} s, {link.deviation:g} s"
                )

    @cached_property
    def index(self) -> dict[str, int]:
        """Position of each node in `nodes`."""
        return {node.name: position for position, node in enumerate(self.nodes)}

    @cached_property
    def arcs(self) -> tuple[Arc, ...]:
        """Both directions of link k at 2 k and 2 k + 1."""
        ways = ((link, *ends) for link in self.links for ends in ((link.a, link.b), (link.b, link.a)))
        return tuple(Arc(a, b, link.bandwidth, link.delay, link.deviation) for link, a, b in ways)

    def __getitem__(self, name: str) -> Node:
        return self.nodes[self.index[name]]

    def path(self, start: str, end: str) -> tuple[int, ...] | None:
        """The arcs from one node to another, as positions in `arcs`; () to itself, None where no way leads."""
        origin, here = self.index[start], self.index[end]
        delays, before = self.tree(origin)
        if not np.isfinite(delays[here]):
            return None
        arcs: list[int] = []
        while here != origin:
            previous = int(before[here])
            arcs.append(self.between[previous, here])
            here = previous
        return tuple(reversed(arcs))

    def delays(self, start: str) -> NDArray[np.float64]:
        """Seconds from a node to each node along the path of least delay; infinite where there is none."""
        # A hop costs a nanosecond here, so that among equally fast ways the shorter one is taken.
        return np.asarray(self.tree(self.index[start])[0])

    @cached_property
    def between(self) -> dict[tuple[int, int], int]:
        """The fastest arc from node to node."""
        best: dict[tuple[int, int], int] = {}
        for position, arc in enumerate(self.arcs):
            ends = self.index[arc.start], self.index[arc.end]
            if ends not in best or arc.delay < self.arcs[best[ends]].delay:
                best[ends] = position
        return best

    @cached_property
    def fastest(self) -> NDArray[np.int32]:
        """As `between`, as a table from node (rows) to node; -1 where there is no arc."""
        table = np.full((len(self.nodes), len(self.nodes)), -1, np.int32)
        for ends, arc in self.between.items():
            table[ends] = arc
        return table

    @cached_property
    def _weights(self) -> Any:
        """Delay of the fastest arc from node to node, as scipy's graphs want it."""
        from scipy.sparse import csr_array

        count = len(self.nodes)
        rows, columns = zip(*self.between, strict=True) if self.between else ((), ())
        costs = [self.arcs[position].delay + _HOP for position in self.between.values()]
        return csr_array((costs, (rows, columns)), shape=(count, count))

    def tree(self, origin: int) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
        """Least delays from a node to all, and the node before each on the way (below 0 for none); kept."""
        from scipy.sparse.csgraph import dijkstra

        if origin not in self._trees:
            self._trees[origin] = dijkstra(self._weights, indices=origin, return_predecessors=True)
        return self._trees[origin]


_HOP = 1e-9  # seconds


def _unique(field: str, names: Sequence[str]) -> None:
    twice = {name for name in names if list(names).count(name) > 1} if len(set(names)) < len(names) else ()
    if twice:
        raise ConfigError(f"{field}: {', '.join(sorted(twice))} is there twice; every name must be another one")
