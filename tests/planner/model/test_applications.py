"""Graphs as the planner sees them."""

from __future__ import annotations

import pytest

from flowedge import Goal, Graph, GraphError, choose, join
from flowedge.planner.model.applications import applications, scalar
from flowedge.planner.model.problem import Stage
from tests.graph_steps import Behind, Detect, Draw, Film, Merge, Scale, Slice, Track, camera


def crossing(goal: Goal) -> Graph:
    graph = Graph("crossing", goal=goal)
    frames = camera(graph) >> Scale(choose("size", 320, 640))
    tiles = frames >> Slice(choose("tiles", 1, 4))
    found = (
        tiles
        >> Detect(size=choose("size", 320, 640), classes=choose("what", ("car",), ("car", "bus")))
        >> Merge()
    )
    join(frames, found >> Track()) >> Draw() >> Film()
    return graph


def test_operators_are_stages_with_their_inputs_in_order() -> None:
    (found,) = applications(crossing(Goal()))
    assert found.name == "crossing"
    assert found.stages == (
        Stage("Camera", source=True),
        Stage("Scale", ("Camera",)),
        Stage("Slice", ("Scale",)),
        Stage("Detect", ("Slice",)),
        Stage("Merge", ("Detect",)),
        Stage("Track", ("Merge",), keyed=True),
        Stage("Draw", ("Scale", "Track")),
        Stage("Film", ("Draw",), keyed=True),
    )


def test_knobs_of_one_name_are_one_and_values_are_scalars() -> None:
    (found,) = applications(crossing(Goal()))
    whats = ("('car',)", "('car', 'bus')")
    assert found.knobs == (("size", (320, 640)), ("tiles", (1, 4)), ("what", whats))
    assert scalar(None) is None
    assert scalar(True) is True


def test_goals_and_pins() -> None:
    goal = Goal(latency="250 ms", throughput=10, accuracy=0.4, pins={"Draw": "edge", "Detect": "cloud"})
    (found,) = applications(crossing(goal))
    assert (found.latency, found.throughput, found.accuracy) == (0.25, 10, 0.4)
    assert {stage.name: stage.tier for stage in found.stages if stage.tier} == {
        "Draw": "edge",
        "Detect": "cloud",
    }
    (free,) = applications(crossing(Goal()))
    assert (free.latency, free.throughput, free.accuracy) == (float("inf"), None, 0.0)


def test_each_source_is_an_application_of_its_own() -> None:
    graph = Graph("two")
    camera(graph, "north", "first") >> Scale(name="wide") >> Film(name="a")
    camera(graph, "south", "second") >> Scale(choose("size", 320, 640)) >> Film(name="b")
    first, second = applications(graph)
    assert (first.name, [stage.name for stage in first.stages], first.knobs) == (
        "two.first",
        ["first", "wide", "a"],
        (),
    )
    assert (second.name, [stage.name for stage in second.stages]) == ("two.second", ["second", "Scale", "b"])
    assert second.knobs == (("size", (320, 640)),)


def test_what_gives_its_results_later_is_keyed() -> None:
    graph = Graph("late")
    camera(graph) >> Behind() >> Film()
    (found,) = applications(graph)
    assert found.stages[1].keyed


def test_a_graph_that_is_not_complete_is_refused() -> None:
    graph = Graph("open")
    camera(graph) >> Scale()
    with pytest.raises(GraphError, match="has no sink"):
        applications(graph)
