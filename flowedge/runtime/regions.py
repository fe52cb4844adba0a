"""Which parts of a graph must let live frames through whole.

A *region* lies between a split and its gather, or between a fork and the join where two branches that each have
operators meet again (see `flowedge.plane.gate`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from flowedge.graph.contract import Gather, Operator, Split
from flowedge.graph.graph import Graph, Node, Pair, Part, Wire, steps_of


@dataclass(frozen=True)
class Region:
    """`steps` lie inside; `exits` are the gathers, and the steps behind joins, by which frames leave."""

    steps: frozenset[str]
    exits: frozenset[str]

    def heads(self, graph: Graph) -> list[Node]:
        """The steps of the region that are fed from outside it."""
        return [node for node in graph.nodes if node.name in self.steps and not _inputs(node) & self.steps]

    def fork(self, graph: Graph) -> str | None:
        """The step outside whose output feeds every head; None where there is no such one."""
        common = frozenset.intersection(*(_inputs(node) for node in self.heads(graph)))
        return max(common, default=None)

    def depth(self, graph: Graph) -> int:
        """The most operators that a frame passes one after the other: how many frames keep all of them busy."""
        depths: dict[str, int] = {}
        for node in graph.nodes:  # a node comes after what feeds it
            if node.name in self.steps:
                works = isinstance(node.step, Operator)
                depths[node.name] = works + max((depths.get(name, 0) for name in _inputs(node)), default=0)
        return max(1, *depths.values())


def regions(graph: Graph) -> list[Region]:
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


def _splits(graph: Graph) -> Iterator[Region]:
    for node in graph.nodes:
        if isinstance(node.step, Split):
            inside = {node.name}
            for other in graph.nodes:
                if other.tiled and _inputs(other) & inside:
                    inside.add(other.name)
            gathers = {name for name in inside if isinstance(graph.node(name).step, Gather)}
            inside -= gathers
            yield Region(frozenset(inside), frozenset(gathers))


def _forks(graph: Graph) -> Iterator[Region]:
    for node in graph.nodes:
        if node.input is None or node.tiled:
            continue
        for pair in _pairs(node.input):
            left, right = _upstream(graph, pair.left), _upstream(graph, pair.right)
            if left - right and right - left:
                yield Region(left ^ right, frozenset([node.name]))


def _merged(one: Region, other: Region) -> Region:
    """One region for two that overlap: frames leave where what follows is outside both."""
    steps = one.steps | other.steps
    return Region(steps, (one.exits | other.exits) - steps)


def _inputs(node: Node) -> frozenset[str]:
    return frozenset() if node.input is None else steps_of(node.input)


def _upstream(graph: Graph, wire: Wire) -> frozenset[str]:
    names = set(steps_of(wire))
    for node in reversed(graph.nodes):
        if node.name in names:
            names |= _inputs(node)
    return frozenset(names)


def _pairs(wire: Wire) -> Iterator[Pair]:
    if isinstance(wire, Pair):
        yield wire
        yield from _pairs(wire.left)
        yield from _pairs(wire.right)
    elif isinstance(wire, Part):
        yield from _pairs(wire.of)
