"""Seconds and prices along the network's paths, from every node to every node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flowedge.planner.model.cluster import Cluster


@dataclass(frozen=True)
class Delays:
    """Seconds from each node (rows) to each node: `fixed` (infinite without a path) plus bytes x `per_byte`."""

    fixed: NDArray[np.float64]
    per_byte: NDArray[np.float64]

    def seconds(self, size: float) -> NDArray[np.float64]:
        """Seconds that so many bytes take from every node to every node."""
        return np.asarray(self.fixed + size * self.per_byte)

    def between(self, start: int, end: int, size: float) -> float:
        """Seconds that so many bytes take from one node to another, by position."""
        return float(self.fixed[start, end] + size * self.per_byte[start, end])


def path_delays(cluster: Cluster, certainty: float) -> Delays:
    """The network of a cluster, along the paths that `Cluster.path` gives.

    >>> from flowedge.planner.model.cluster import Link, Node
    >>> nodes = Node("a", "edge", "pi", 1), Node("b", "edge", "pi", 1)
    >>> pair = Cluster(("edge",), nodes, (Link("a", "b", 8e6, 0.01),))
    >>> float(path_delays(pair, 2.0).seconds(1000)[0, 1])
    0.011
    """
    fixed = np.array([arc.delay + certainty * arc.deviation for arc in cluster.arcs])
    per_byte = np.array([8 / arc.bandwidth for arc in cluster.arcs])
    seconds, slopes = sum_along_paths(cluster, np.array([fixed, per_byte]))
    seconds[np.isinf([cluster.tree(origin)[0] for origin in range(len(cluster.nodes))])] = np.inf
    return Delays(seconds, slopes)


def sum_along_paths(
    cluster: Cluster, amounts: NDArray[np.float64], among: NDArray[np.bool_] | None = None
) -> NDArray[np.float64]:
    """Sum amounts of arcs (K x arcs) along the path from every node to every node; K x nodes x nodes.

    With `among` (a mask of nodes) only between those; the rest is 0. So it is where no path leads.

    >>> from flowedge.planner.model.cluster import Link, Node
    >>> nodes = tuple(Node(name, "edge", "pi", 1) for name in "abc")
    >>> line = Cluster(("edge",), nodes, (Link("a", "b", 1e6), Link("b", "c", 1e6)))
    >>> sum_along_paths(line, np.ones((1, len(line.arcs))))[0].tolist()
    [[0.0, 1.0, 2.0], [1.0, 0.0, 1.0], [2.0, 1.0, 0.0]]
    """
    count = len(cluster.nodes)
    padded = np.concatenate([amounts, np.zeros((len(amounts), 1))], axis=1)  # the last arc: staying is free
    kept = np.arange(count) if among is None else np.nonzero(among)[0]
    before = np.array([cluster.tree(origin)[1] for origin in kept.tolist()], np.int64).reshape(len(kept), count)
    rows, here = np.arange(len(kept))[:, None], np.broadcast_to(kept, (len(kept), len(kept)))
    total = np.zeros((len(amounts), len(kept), len(kept)))
    while True:
        previous = before[rows, here]  # negative at the origin and where no path leads
        if (previous < 0).all():
            break
        previous = np.where(previous < 0, here, previous)
        total += padded[:, cluster.fastest[previous, here]]
        here = previous
    if among is None:
        return total
    whole = np.zeros((len(amounts), count, count))
    whole[:, kept[:, None], kept] = total
    return whole


def prices_along_paths(
    cluster: Cluster, prices: Mapping[int, float], among: NDArray[np.bool_] | None = None
) -> NDArray[np.float64]:
    """Sum prices (by position of the arc) along the path from every node to every node."""
    amounts = np.zeros((1, len(cluster.arcs)))
    amounts[0, list(prices)] = list(prices.values())
    return np.asarray(sum_along_paths(cluster, amounts, among)[0])
