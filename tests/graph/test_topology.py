"""What lies before, behind and between the operators of a graph."""

from __future__ import annotations

from typing import Any

import pytest

from flowedge import Detections, Frame, Graph, Tracks, join, unzip
from flowedge.graph.nodes import Half, Output, Pair
from tests.graph_steps import (
    Both,
    Detect,
    Draw,
    Drop,
    Film,
    Keep,
    Lines,
    Merge,
    Pass,
    Scale,
    Slice,
    Track,
    camera,
)


@pytest.fixture
def graph() -> Graph:
    """Two cameras: one whose tiles are searched and whose tracks are drawn, and one that is only filmed."""
    graph = Graph("g")
    frames = camera(graph) >> Scale()
    parts = frames >> Slice()
    tracks = parts >> Pass() >> Detect() >> Merge() >> Track()
    parts >> Detect(name="coarse") >> Merge(name="rough") >> Drop(name="coarse_end")
    join(frames, tracks) >> Draw() >> Film()
    camera(graph, "other", "other") >> Film(name="raw")
    return graph


def test_sources_and_sinks_come_in_the_order_of_declaration(graph: Graph) -> None:
    assert [node.name for node in graph.sources()] == ["Camera", "other"]
    assert [node.name for node in graph.sinks()] == ["coarse_end", "Film", "raw"]


def test_upstream_is_all_that_a_step_or_a_wire_depends_on(graph: Graph) -> None:
    assert graph.upstream("Camera") == frozenset()
    assert graph.upstream("Detect") == {"Camera", "Scale", "Slice", "Pass"}
    assert graph.upstream(Output("Scale")) == {"Camera", "Scale"}
    assert graph.upstream(Pair(Output("Scale"), Half(Output("Slice"), 0))) == {"Camera", "Scale", "Slice"}


def test_downstream_is_all_that_depends_on_a_step(graph: Graph) -> None:
    assert graph.downstream("Merge") == ("Track", "Draw", "Film")
    assert graph.downstream("other") == ("raw",)
    assert graph.downstream("raw") == ()


def test_the_sinks_behind_a_source_are_not_those_of_another(graph: Graph) -> None:
    assert graph.sinks_behind("Camera") == ("coarse_end", "Film")
    assert graph.sinks_behind("other") == ("raw",)
    assert graph.sources_of(Output("Film")) == {"Camera"}


def test_the_consumers_of_a_step_take_its_output_as_it_is(graph: Graph) -> None:
    assert [node.name for node in graph.consumers("Scale")] == ["Slice", "Draw"]
    assert graph.consumers("Film") == ()


def test_parts_know_their_split_and_a_split_what_lies_before_its_gathers(graph: Graph) -> None:
    assert graph.split_of(Output("Detect")) == graph.split_of(Output("coarse")) == "Slice"
    assert graph.between("Slice") == ({"Slice", "Pass", "Detect", "coarse"}, {"Merge", "rough"})


def test_the_output_of_a_filter_has_the_type_of_its_input(graph: Graph) -> None:
    assert (graph.gives("Pass"), graph.gives("Track"), graph.gives("Film")) == (Frame, Tracks, None)
    other: Any = Graph("h")
    camera(other) >> Detect() >> Keep() >> Drop()
    assert other.gives("Keep") is Detections


def test_a_wire_carries_the_types_of_its_outputs() -> None:
    graph = Graph("g")
    frames, found = unzip(camera(graph) >> Both())
    found >> Lines()
    frames >> Film()
    both = Output("Both")
    assert graph.carried(Half(both, 1)) is Detections
    assert graph.carried(Pair(Half(both, 1), Half(both, 0))) == tuple[Detections, Frame]


def test_a_name_that_no_node_has_is_a_key_error(graph: Graph) -> None:
    for ask in (graph.node, graph.upstream, graph.downstream, graph.gives, graph.between):
        with pytest.raises(KeyError, match="nobody"):
            ask("nobody")
