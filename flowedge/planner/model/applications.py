"""A graph as the planner sees it.

>>> from flowedge import Goal, Graph, choose
>>> from flowedge.operators import Null, Resize, video
>>> graph = Graph("tiny", goal=Goal(latency="250 ms", pins={"Null": "cloud"}))
>>> video(graph, "street://") >> Resize(choose("width", 320, 640)) >> Null()
>>> tiny, = applications(graph)
>>> tiny.latency, tiny.knobs, [(stage.name, stage.keyed, stage.tier) for stage in tiny.stages][1:]
(0.25, (('width', (320, 640)),), [('Decode', True, None), ('Resize', False, None), ('Null', True, 'cloud')])
"""

from __future__ import annotations

from collections.abc import Sequence

from flowedge.graph.contract import Operator, Sink, State
from flowedge.graph.graph import Graph
from flowedge.graph.nodes import GraphNode
from flowedge.planner.model import units
from flowedge.planner.model.problem import Application, Stage
from flowedge.values import Scalar


def applications(graph: Graph) -> tuple[Application, ...]:
    """What the planner is to place: one application for each source, since their streams never meet.

    It has the graph's name, or "GRAPH.SOURCE" where there are several. Operators with state and sinks are
    keyed by camera. The value of a knob that is no text, number or bool is given by its `repr`. Raises
    `GraphError` for a graph that is not complete.
    """
    graph.check()
    sources = [node.name for node in graph.sources()]
    return tuple(
        _application(
            graph,
            graph.name if len(sources) == 1 else f"{graph.name}.{source}",
            [graph.node(name) for name in (source, *graph.downstream(source))],
        )
        for source in sources
    )


def _application(graph: Graph, name: str, nodes: Sequence[GraphNode]) -> Application:
    goal = graph.goal
    knobs = {choice.name: choice.values for node in nodes for choice in node.step.knobs.values()}
    return Application(
        name,
        tuple(_stage(node, goal.pins.get(node.name)) for node in nodes),
        knobs=tuple((knob, tuple(map(scalar, values))) for knob, values in sorted(knobs.items())),
        latency=float("inf") if goal.latency is None else units.seconds(goal.latency, "Goal.latency"),
        throughput=goal.throughput,
        accuracy=goal.accuracy or 0.0,
    )


def _stage(node: GraphNode, tier: str | None) -> Stage:
    step = node.step
    delayed = isinstance(step, Operator) and step.delayed
    return Stage(
        node.name,
        node.feeders,
        source=node.input is None,
        keyed=delayed or step.state is not State.NONE or isinstance(step, Sink),
        tier=tier,
    )


def scalar(value: object) -> Scalar:
    """A knob's value as it stands in settings and profiles.

    >>> scalar(416), scalar(("person", "car"))
    (416, "('person', 'car')")
    """
    return value if value is None or isinstance(value, (str, int, float)) else repr(value)
