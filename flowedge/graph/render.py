"""The operators of a graph for people: as rows of a table, in aligned columns and as a Mermaid flowchart."""

from __future__ import annotations

from flowedge.graph.contract import Gather, Operator, Sink, Source, Split, State, Step
from flowedge.graph.nodes import Both, GraphNode, Half, Output, Pair, Wire, described
from flowedge.graph.signature import readable, signature
from flowedge.graph.topology import Topology
from flowedge.secrets import redact

HEADINGS = ("operator", "kind", "takes", "gives", "fed by", "state", "knobs")


def table(graph: Topology) -> list[tuple[str, ...]]:
    """One row per operator, in the order in which they were declared; the columns are `HEADINGS`.

    >>> from flowedge import Graph
    >>> from flowedge.operators import Null, video
    >>> graph = Graph("tiny")
    >>> video(graph, "street://") >> Null()
    >>> table(graph)[-1]
    ('Null', 'sink', 'object', '', 'Decode', '', '')
    """
    return [_row(node) for node in graph.nodes]


def columns(graph: Topology) -> str:
    """The table of a graph's operators below its headings, in aligned columns.

    >>> from flowedge import Graph
    >>> columns(Graph("tiny"))
    'operator  kind  takes  gives  fed by  state  knobs'
    """
    rows = [HEADINGS, *table(graph)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def mermaid(graph: Topology) -> str:
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

    def __init__(self, graph: Topology) -> None:
        self._graph = graph
        self._nodes = {node.name: f"n{index}" for index, node in enumerate(graph.nodes)}
        self._joins: dict[Pair, str] = {}
        self._lines = ["flowchart LR"]
        for node in graph.nodes:
            before, after = _SHAPES[_kind(node.step)]
            self._lines.append(f"    {self._nodes[node.name]}{before}{_quoted(node.name)}{after}")
        for node in graph.nodes:
            if isinstance(node.input, Both):
                for side in dict.fromkeys((node.input.left, node.input.right)):
                    self._draw(side, self._nodes[node.name])
            elif node.input is not None:
                self._draw(node.input, self._nodes[node.name])

    def text(self) -> str:
        return "\n".join(self._lines)

    def _draw(self, wire: Wire, to: str) -> None:
        label = _quoted(readable(self._graph.carried(wire)))
        self._lines.append(f"    {self._beginning(wire)} -->|{label}| {to}")

    def _beginning(self, wire: Wire) -> str:
        """The node that a wire comes from; a join is drawn when it is first met."""
        match wire:
            case Output(step):
                return self._nodes[step]
            case Half(of):
                return self._beginning(of)
            case Pair(left, right):
                if wire not in self._joins:
                    self._joins[wire] = name = f"j{len(self._joins)}"
                    self._lines.append(f'    {name}(("join"))')
                    self._draw(left, name)
                    self._draw(right, name)
                return self._joins[wire]
        raise TypeError(f"{described(wire)} does not begin at one node")


def _row(node: GraphNode) -> tuple[str, ...]:
    step = node.step
    takes = signature(step).takes
    kind = _kind(step).__name__.lower()
    knobs = {
        choice.name: f"{choice.name}: {redact(', '.join(map(str, choice.values)))}"
        for choice in step.knobs.values()
    }
    return (
        node.name,
        f"{kind} on parts" if node.tiled and isinstance(step, Operator) else kind,
        "" if takes is None else readable(takes),
        "" if node.gives is None else readable(node.gives),
        "" if node.input is None else described(node.input),
        "" if step.state is State.NONE else step.state.value,
        "; ".join(knobs.values()),
    )


def _kind(step: Step) -> type[Step]:
    return next(kind for kind in _SHAPES if isinstance(step, kind))


def _quoted(label: str) -> str:
    """A label that Mermaid takes literally."""
    return '"' + label.replace('"', "#quot;") + '"'
