"""Which parts of a graph must let live frames through whole.

A *region* lies between a split and its gather, or between a fork and the join where two branches that each have
operators meet again (see `flowedge.plane.gate`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from flowedge.graph.contract import Operator, Split
from flowedge.graph.nodes import GraphNode, pairs_of
from flowedge.graph.topology import Topology


@dataclass(frozen=True)
class Region:
    """`steps` lie inside; `exits` are the gathers, and the steps behind joins, by which frames leave."""

    steps: frozenset[str]
    exits: frozenset[str]

    def heads(self, graph: Topology) -> list[GraphNode]:
        """The steps of the region that are fed from outside it."""
        return [node for node in graph.nodes if node.name in self.steps and self.steps.isdisjoint(node.feeders)]

    def fork(self, graph: Topology) -> str | None:
        """The step outside whose output feeds every head; None where there is no such one."""
        common = frozenset.intersection(*(frozenset(node.feeders) for node in self.heads(graph)))
        return max(common, default=None)

    def depth(self, graph: Topology) -> int:
        """The most operators that a frame passes one after the other: how many frames keep all of them busy."""
        depths: dict[str, int] = {}
        for node in graph.nodes:  # a node comes after what feeds it
            if node.name in self.steps:
                works = isinstance(node.step, Operator)
                depths[node.name] = works + max((depths.get(name, 0) for name in node.feeders), default=0)
        return max(1, *depths.values())


def regions(graph: Topology) -> list[Region]:
    """The regions of a graph, none inside another."""
    found: list[Region] = []
    for region in (*_splits(graph), *_forks(graph)):
        if any(getattr(graph.node(name).step, "delayed", False) for name in region.steps):
            continue  # it keeps frames back, so waiting for them at a gate would never end
        touching = [other for other in found if other.steps & region.steps]
        for other in touching:
            found.remove(other)
            region = _merged(region, other)
        found.append(region)
    return [region for region in found if region.fork(graph)]


def _splits(graph: Topology) -> Iterator[Region]:
    for node in graph.nodes:
        if isinstance(node.step, Split):
            yield Region(*graph.between(node.name))


def _forks(graph: Topology) -> Iterator[Region]:
    for node in graph.nodes:
        if node.input is None or node.tiled:
            continue
        for pair in pairs_of(node.input):
            left, right = graph.upstream(pair.left), graph.upstream(pair.right)
            if left - right and right - left:
                yield Region(left ^ right, frozenset([node.name]))


def _merged(one: Region, other: Region) -> Region:
    """One region for two that overlap: frames leave where what follows is outside both."""
    steps = one.steps | other.steps
    return Region(steps, (one.exits | other.exits) - steps)
