"""What lies before, behind and between the operators of a graph, and what type of values flows there.

>>> from flowedge import Graph
>>> from flowedge.operators import Null, Resize, video
>>> graph = Graph("tiny")
>>> video(graph, "street://") >> Resize(320) >> Null()
>>> sorted(graph.upstream("Resize")), graph.downstream("Decode"), graph.gives("Resize").__name__
(['Decode', 'video'], ('Resize', 'Null'), 'Frame')
"""

from __future__ import annotations

from types import GenericAlias

from flowedge.graph.contract import Gather, Sink, Source, Split
from flowedge.graph.nodes import Both, GraphNode, Half, Output, Pair, Wire, steps_of
from flowedge.graph.signature import Type
from flowedge.graph.synchronization import Synchronize


class Topology:
    """Nodes in an order in which every one comes after those that feed it, and questions about them.

    Every question about a name that no node has raises `KeyError`.
    """

    nodes: tuple[GraphNode, ...]

    def node(self, name: str) -> GraphNode:
        """The node of this name."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise KeyError(name)

    def sources(self) -> tuple[GraphNode, ...]:
        """The nodes at which streams begin."""
        return tuple(node for node in self.nodes if isinstance(node.step, Source))

    def sinks(self) -> tuple[GraphNode, ...]:
        """The nodes at which streams end."""
        return tuple(node for node in self.nodes if isinstance(node.step, Sink))

    def upstream(self, place: str | Wire) -> frozenset[str]:
        """The steps on which a step depends, or from which the values of a wire come, near and far."""
        names = set(self.node(place).feeders if isinstance(place, str) else steps_of(place))
        for node in reversed(self.nodes):
            if node.name in names:
                names.update(node.feeders)
        return frozenset(names)

    def downstream(self, name: str) -> tuple[str, ...]:
        """The steps that depend on a step, itself excluded, in the graph's order."""
        reached = {self.node(name).name: None}
        for node in self.nodes:
            if not reached.keys().isdisjoint(node.feeders):
                reached[node.name] = None
        return tuple(reached)[1:]

    def sinks_behind(self, name: str) -> tuple[str, ...]:
        """The sinks that depend on a step, in the graph's order."""
        reached = self.downstream(name)
        return tuple(node.name for node in self.sinks() if node.name in reached)

    def consumers(self, name: str) -> tuple[GraphNode, ...]:
        """The nodes that take the output of a step, or a half of it, as it is."""
        return tuple(node for node in self.nodes if name in node.feeders)

    def sources_of(self, wire: Wire) -> frozenset[str]:
        """The sources that a wire carries values of."""
        return self.upstream(wire) & {node.name for node in self.sources()}

    def begins_at(self, wire: Wire) -> frozenset[str]:
        """The sources that a wire's frames come from, or the `Synchronize` that made them pairs."""
        match wire:
            case Half(of) | Pair(of, _):
                return self.begins_at(of)
            case Both(left, right):
                return self.begins_at(left) | self.begins_at(right)
            case Output(step):
                node = self.node(step)
        if node.input is None or isinstance(node.step, Synchronize):
            return frozenset({node.name})
        return self.begins_at(node.input)

    def cameras_of(self, wire: Wire) -> tuple[str, ...]:
        """The cameras whose frames a wire carries: of pairs that were synchronized, the left one."""
        cameras: list[str] = []
        for name in self.begins_at(wire):
            step = self.node(name).step
            if isinstance(step, Source):
                cameras += step.cameras
            elif isinstance(step, Synchronize):
                cameras.append(step.cameras[0])
        return tuple(cameras)

    def split_of(self, wire: Wire) -> str:
        """The split whose parts a wire carries."""
        node = self.node(steps_of(wire)[0])
        while not isinstance(node.step, Split):
            node = self.node(node.feeders[0])
        return node.name

    def between(self, split: str) -> tuple[frozenset[str], frozenset[str]]:
        """A split with the steps that work on its parts, and the gathers that bring these together."""
        inside = {self.node(split).name}
        gathers: set[str] = set()
        for node in self.nodes:
            if node.tiled and not inside.isdisjoint(node.feeders):
                (gathers if isinstance(node.step, Gather) else inside).add(node.name)
        return frozenset(inside), frozenset(gathers)

    def gives(self, name: str) -> Type | None:
        """The type of a step's output where it stands; None for a sink."""
        return self.node(name).gives

    def carried(self, wire: Wire) -> Type:
        """The type of the values on a wire."""
        match wire:
            case Output(step):
                return self.gives(step)
            case Pair(left, right) | Both(left, right):
                return GenericAlias(tuple, (self.carried(left), self.carried(right)))
            case Half(of, index):
                return self.carried(of).__args__[index]
