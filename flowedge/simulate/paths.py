"""Paths through a cluster whose links may be broken."""

from __future__ import annotations

import math
from dataclasses import replace

from flowedge.planner.model.cluster import Cluster
from flowedge.simulate.core import LinkDirection, Path


class Routing:
    """Paths of least delay over the links that worked at the last look, by the numbers of two nodes; kept."""

    def __init__(self, cluster: Cluster, directions: list[LinkDirection]) -> None:
        self._whole = cluster
        self._directions = directions
        self.learn()

    def learn(self) -> None:
        """Look at the links again: from now on paths lead around the broken ones."""
        links = range(len(self._whole.links))
        working = [number for number in links if not self._directions[2 * number].link.broken]
        self.cluster = replace(self._whole, links=tuple(self._whole.links[number] for number in working))
        self._numbers = [direction for number in working for direction in (2 * number, 2 * number + 1)]
        self._paths: dict[tuple[int, int], Path | None] = {}

    def path(self, start: int, end: int) -> Path | None:
        """The path from node to node, or None where no way leads."""
        key = start, end
        if key not in self._paths:
            self._paths[key] = self._find(start, end)
        return self._paths[key]

    def _find(self, start: int, end: int) -> Path | None:
        names = self.cluster.nodes
        arcs = self.cluster.path(names[start].name, names[end].name)
        if arcs is None:
            return None
        path_arcs = [self.cluster.arcs[arc] for arc in arcs]
        return Path(
            tuple(self._directions[self._numbers[arc]] for arc in arcs),
            sum(arc.delay for arc in path_arcs),
            math.sqrt(sum(arc.deviation**2 for arc in path_arcs)),
        )
