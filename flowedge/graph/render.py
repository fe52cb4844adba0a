"""A graph for people: as rows of a table, as plain text and as a Mermaid flowchart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from types import GenericAlias

from flowedge.graph.contract import Gather, Operator, Sink, Source, Split, State, Step
from flowedge.graph.graph import Graph, Node, Output, Pair, Part, Wire, described
from flowedge.graph.signature import Type, applied, readable, signature

HEADINGS = ("operator", "kind", "takes", "gives", "fed by", "state", "knobs")


def table(graph: Graph) -> list[tuple[str, ...]]:
    """One row per operator, in the order in which they were declared; the columns are `HEADINGS`.

    >>> from flowedge import Graph
    >>> from flowedge.operators import Null, video
    >>> graph = Graph("tiny")
    >>> video(graph, "street://") >> Null()
    >>> table(graph)[-1]
    ('Null', 'sink', 'object', '', 'Decode', '', '')
    """
    kinds = _kinds(graph)
    return [_row(node, kinds[node.name]) for node in graph.nodes]


def text(graph: Graph) -> str:
    """The graph's name, its goal and the table of its operators in aligned columns; what `print` shows.

    >>> from flowedge import Graph
    >>> print(text(Graph("tiny")).splitlines()[0])
    tiny: minimize energy
    """
    goals = {name: value for name, value in asdict(graph.goal).items() if value is not None}
    if graph.goal.minimize != "utility":
        goals.pop("theta")
    pins = [f"{name} in {tier}" for name, tier in goals.pop("pins").items()]
    goal = ", ".join([*(f"{name} {value}" for name, value in goals.items()), *pins])
    rows = [HEADINGS, *table(graph)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
    return "\n".join([f"{graph.name}: {goal}", *lines])


def mermaid(graph: Graph) -> str:
    """A Mermaid flowchart: edges are labelled with what they carry, a join is a small circle.

    >>> from flowedge import Graph
    >>> from flowedge.operators import Null, video
    >>> graph = Graph("tiny")
    >>> video(graph, "street://") >> Null()
    >>> print(mermaid(graph).splitlines()[-1])
        n1 -->|"Frame"| n2
    """
    return _Chart(graph).text()


_SHAPES: dict[type[Step], tuple[str, str]] = {
    Source: ("([", "])"),
    Split: ("[/", "\\]"),
    Operator: ("[", "]"),
    Gather: ("[\\", "/]"),
    Sink: ("[[", "]]"),
}


class _Chart:
    """The lines of a flowchart. Nodes are numbered, since an operator may be named like a word of Mermaid."""

    def __init__(self, graph: Graph) -> None:
        self._kinds = _kinds(graph)
        self._nodes = {node.name: f"n{index}" for index, node in enumerate(graph.nodes)}
        self._joins: dict[Pair, str] = {}
        self._lines = ["flowchart LR"]
        for node in graph.nodes:
            before, after = _SHAPES[_kind(node.step)]
            self._lines.append(f"    {self._nodes[node.name]}{before}{_quoted(node.name)}{after}")
        for node in graph.nodes:
            if node.input is not None:
                self._draw(node.input, self._nodes[node.name])

    def text(self) -> str:
        return "\n".join(self._lines)

    def _draw(self, wire: Wire, to: str) -> None:
        label = _quoted(readable(_carried(wire, self._kinds)))
        self._lines.append(f"    {self._beginning(wire)} -->|{label}| {to}")

    def _beginning(self, wire: Wire) -> str:
        """The node that a wire comes from; a join is drawn when it is first met."""
        match wire:
            case Output(step):
                return self._nodes[step]
            case Part(of):
                return self._beginning(of)
            case Pair(left, right):
                if wire not in self._joins:
                    self._joins[wire] = name = f"j{len(self._joins)}"
                    self._lines.append(f'    {name}(("join"))')
                    self._draw(left, name)
                    self._draw(right, name)
                return self._joins[wire]


def _row(node: Node, gives: Type | None) -> tuple[str, ...]:
    step = node.step
    takes = signature(step).takes
    kind = _kind(step).__name__.lower()
    knobs = {
        choice.name: f"{choice.name}: {', '.join(map(str, choice.values))}" for choice in step.knobs.values()
    }
    return (
        node.name,
        f"{kind} on parts" if node.tiled and isinstance(step, Operator) else kind,
        "" if takes is None else readable(takes),
        "" if gives is None else readable(gives),
        "" if node.input is None else described(node.input),
        "" if step.state is State.NONE else step.state.value,
        "; ".join(knobs.values()),
    )


def _kind(step: Step) -> type[Step]:
    return next(kind for kind in _SHAPES if isinstance(step, kind))


def _kinds(graph: Graph) -> dict[str, Type | None]:
    """What each operator gives, where it stands: a filter of any value gives what it is fed with."""
    kinds: dict[str, Type | None] = {}
    for node in graph.nodes:
        if node.input is None:
            kinds[node.name] = signature(node.step).gives
        else:
            kinds[node.name] = applied(node.step, _carried(node.input, kinds))
    return kinds


def _carried(wire: Wire, kinds: Mapping[str, Type | None]) -> Type:
    """The type of the values on a wire."""
    match wire:
        case Output(step):
            return kinds[step]
        case Pair(left, right):
            return GenericAlias(tuple, (_carried(left, kinds), _carried(right, kinds)))
        case Part(of, index):
            return _carried(of, kinds).__args__[index]


def _quoted(label: str) -> str:
    """A label that Mermaid takes literally."""
    return '"' + label.replace('"', "#quot;") + '"'
