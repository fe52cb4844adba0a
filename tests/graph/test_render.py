"""Graphs as tables, as text and as flowcharts."""

from __future__ import annotations

import re

import pytest

from flowedge import Goal, Graph, choose, join, synchronize, unzip
from flowedge.graph.render import HEADINGS, mermaid, table
from tests.graph_steps import Both, Detect, Draw, Drop, Film, Lines, Merge, Pass, Scale, Slice, Track, camera


@pytest.fixture
def crossing() -> Graph:
    graph = Graph("crossing", goal=Goal(latency="250 ms", accuracy=0.6))
    frames = camera(graph) >> Pass()
    found = frames >> Slice(tiles=choose("tiles", 1, 2)) >> Detect(choose("model", "s", "l")) >> Merge()
    join(frames, found >> Track(name="end")) >> Draw() >> Film()
    return graph


def test_a_row_for_each_operator(crossing: Graph) -> None:
    assert HEADINGS == ("operator", "kind", "takes", "gives", "fed by", "state", "knobs")
    assert table(crossing) == [
        ("Camera", "source", "", "Frame", "", "", ""),
        ("Pass", "operator", "any value", "Frame", "Camera", "", ""),
        ("Slice", "split", "Frame", "Frame", "Pass", "", "tiles: 1, 2"),
        ("Detect", "operator on parts", "Frame", "Detections", "Slice", "", "model: s, l"),
        ("Merge", "gather", "Detections", "Detections", "Detect", "", ""),
        ("end", "operator", "Detections", "Tracks", "Merge", "per camera", ""),
        ("Draw", "operator", "(Frame, Detections)", "Frame", "join(Pass, end)", "", ""),
        ("Film", "sink", "Frame", "", "Draw", "", ""),
    ]


def test_knobs_of_one_name_are_shown_once() -> None:
    graph = Graph("g")
    size = choose("size", 1, 2)
    camera(graph) >> Scale(size, size, name="both") >> Scale(size, choose("factor", 1.0, 2.0)) >> Film()
    assert [row[-1] for row in table(graph)] == ["", "size: 1, 2", "size: 1, 2; factor: 1.0, 2.0", ""]


def test_text_is_aligned_in_columns(crossing: Graph) -> None:
    title, headings, *rows = str(crossing).splitlines()
    assert title == "crossing: latency 250 ms, accuracy 0.6, minimize energy"
    for column, heading in enumerate(HEADINGS):
        start = headings.index(heading)
        for line, row in zip(rows, table(crossing), strict=True):
            assert line[start:].startswith(row[column])
            assert start == 0 or line[start - 2 : start].strip() == ""
    assert not any(line != line.rstrip() for line in (title, headings, *rows))


def test_an_empty_graph_has_a_text_and_a_chart() -> None:
    assert str(Graph("g")).startswith("g: minimize energy\noperator")
    pinned = Graph("g", goal=Goal(pins={"Draw": "edge"}))
    assert str(pinned).startswith("g: minimize energy, Draw in edge\noperator")
    assert mermaid(Graph("g")) == "flowchart LR"


def test_a_flowchart(crossing: Graph) -> None:
    assert mermaid(crossing).splitlines() == [
        "flowchart LR",
        '    n0(["Camera"])',
        '    n1["Pass"]',
        '    n2[/"Slice"\\]',
        '    n3["Detect"]',
        '    n4[\\"Merge"/]',
        '    n5["end"]',
        '    n6["Draw"]',
        '    n7[["Film"]]',
        '    n0 -->|"Frame"| n1',
        '    n1 -->|"Frame"| n2',
        '    n2 -->|"Frame"| n3',
        '    n3 -->|"Detections"| n4',
        '    n4 -->|"Detections"| n5',
        '    j0(("join"))',
        '    n1 -->|"Frame"| j0',
        '    n5 -->|"Tracks"| j0',
        '    j0 -->|"(Frame, Tracks)"| n6',
        '    n6 -->|"Frame"| n7',
    ]


def test_halves_are_labelled_with_their_own_types_and_a_join_is_drawn_once() -> None:
    graph = Graph("g")
    frames, found = unzip(camera(graph) >> Both())
    found >> Lines()
    both = join(frames, join(frames, found))
    both >> Drop()
    both >> Drop(name="again")
    lines = mermaid(graph).splitlines()
    assert '    n1 -->|"Detections"| n2' in lines
    assert '    j0 -->|"(Frame, (Frame, Detections))"| n3' in lines
    assert '    j0 -->|"(Frame, (Frame, Detections))"| n4' in lines
    assert sum("join" in line for line in lines) == 2


def test_every_line_follows_the_grammar_of_a_flowchart(crossing: Graph) -> None:
    name, label = r"[nj]\d+", r'"[^"\n]+"'
    shapes = rf"\(\[{label}\]\)|\[{label}\]|\[/{label}\\\]|\[\\{label}/\]|\[\[{label}\]\]|\(\({label}\)\)"
    grammar = re.compile(rf"    {name}(?:{shapes}| -->\|{label}\| {name})")
    for line in mermaid(crossing).splitlines()[1:]:
        assert grammar.fullmatch(line), line


def test_cameras_that_are_synchronized_meet_in_one_node() -> None:
    graph = Graph("pairs")
    north, south = (camera(graph, name, f"{name}-source") for name in ("north", "south"))
    synchronize(north, south >> Detect()) >> Drop()
    lines = mermaid(graph).splitlines()
    assert lines[-3:] == [
        '    n0 -->|"Frame"| n3',
        '    n2 -->|"Detections"| n3',
        '    n3 -->|"(Frame, Detections)"| n4',
    ]
    row = next(row for row in table(graph) if row[0] == "Synchronize")
    assert row[4:6] == ("synchronize(north-source, Detect)", "of all cameras")
