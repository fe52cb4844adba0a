"""The graphs that come with FlowEdge: each can be built, with and without what it may write."""

from __future__ import annotations

from pathlib import Path

import pytest

from flowedge import ConfigError
from flowedge.graph.graph import Graph
from flowedge.graph.loading import load
from flowedge.graph.serialization import from_json, to_json

GRAPHS = Path(__file__).resolve().parents[2] / "graphs"


def build(name: str, *words: str) -> Graph:
    return load(GRAPHS / name, dict(word.split("=", 1) for word in words))[0]


@pytest.mark.parametrize(
    ("name", "words", "steps"),
    [
        ("watchlist.py", (), "DetectFaces EmbedFaces Watchlist Null"),
        ("watchlist.py", ("source=street://", "people=here", "size=320", "threshold=0.5"), "DetectFaces Null"),
        ("watchlist.py", ("output=o.mp4", "events=e.jsonl"), "Watchlist Draw VideoFile JSONLines"),
        ("traffic.py", (), "Detect Track CountLines Null"),
        ("traffic.py", ("output=o.mp4", "events=-"), "Track CountLines Draw DrawLines Crossings"),
        ("traffic.py", ("model=yolo11n", "size=640", "classes=car", "lines=a:0:0:9:9,b:1:2:3:4"), "Detect"),
        ("detect.py", (), "Detect Null"),
        ("detect.py", ("output=o.mp4", "events=-", "mot=t.txt"), "Detect Draw VideoFile JSONLines MOTFile"),
        ("mot.py", (), "Slice Detect NonMaxMerge Track Draw VideoFile"),
        ("mot.py", ("tracker=picture", "mot=t.txt"), "NonMaxMerge TrackWithPicture Draw VideoFile MOTFile"),
        ("mot.py", ("tracker=tiles", "tiles=6"), "Slice Detect TrackTile Reconstruct Draw VideoFile"),
        ("side_by_side.py", (), "Detect Track Draw Synchronize SideBySide VideoFile"),
        ("continuum.py", (), "Resize Detect Draw VideoFile"),
        ("continuum.py", ("source=street://", "model=yolo11n", "output=o.mp4"), "Resize"),
    ],
)
def test_a_graph_is_built_and_travels(name: str, words: tuple[str, ...], steps: str) -> None:
    graph = build(name, *words)
    names = [node.name for node in graph.nodes]
    wanted = steps.split()
    assert [step for step in names if step in wanted] == wanted
    assert from_json(to_json(graph)) == graph


def test_a_tracker_that_there_is_not_is_one_sentence() -> None:
    with pytest.raises(ConfigError, match="tracker=magic: choose frame, picture or tiles"):
        build("mot.py", "tracker=magic")


def test_resizing_and_finding_move_together() -> None:
    steps = {node.name: node.step for node in build("continuum.py").nodes}
    resize, detect = steps["Resize"].knobs["width"], steps["Detect"].knobs["size"]
    assert resize == detect
    assert resize.values == (416, 512)
