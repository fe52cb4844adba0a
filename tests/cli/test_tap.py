"""flowedge tap: looking at a graph that runs."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import pytest

STREET = """
from flowedge import Graph, join
from flowedge.operators import Draw, MotionDetect, Null, video
graph = Graph("street")
frames = video(graph, "street://?live=1&width=320&height=240&seconds=600&people=2&vehicles=1")
join(frames, frames >> MotionDetect()) >> Draw() >> Null()
"""


@pytest.fixture
def street(flowedge: Any) -> Iterator[Any]:
    (flowedge.folder / "street.py").write_text(STREET)
    process = flowedge.start("run", "street.py")
    assert any("running street" in line for line in process.stderr)
    yield flowedge
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)


def test_detections_come_as_json_lines(street: Any) -> None:
    done = street("tap", "street/MotionDetect", "--count", "3")
    assert done.returncode == 0, done.stderr
    values = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(values) == 3
    assert values[0]["camera"] == "camera"
    assert values[0]["frame"] < values[1]["frame"] < values[2]["frame"]
    assert all("objects" in value for value in values)


def test_pictures_can_be_kept(street: Any, tmp_path: Path) -> None:
    done = street("tap", "street/Draw", "--count", "1", "--picture", "now.jpg")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["picture"] == [320, 240]
    picture = cv2.imread(str(tmp_path / "now.jpg"))
    assert picture is not None
    assert picture.shape == (240, 320, 3)


def test_an_unknown_operator_is_named(street: Any) -> None:
    done = street("tap", "street/Drew", "--count", "1")
    assert done.returncode == 1
    assert 'did you mean "Draw"?' in done.stderr


def test_a_graph_that_does_not_run_is_named(street: Any) -> None:
    done = street("tap", "streets/Draw")
    assert done.returncode == 1
    assert 'no graph named streets runs on this machine; did you mean "street"?' in done.stderr


def test_a_tap_ends_with_its_graph(flowedge: Any) -> None:
    (flowedge.folder / "street.py").write_text(STREET)
    process = flowedge.start("run", "street.py", "--for", "3s")
    assert any("running street" in line for line in process.stderr)
    done = flowedge("tap", "street/MotionDetect")
    process.communicate(timeout=30)
    assert done.returncode == 1
    assert done.stdout
    assert done.stderr == "error: street has ended\n"


def test_a_picture_needs_a_name_that_says_its_kind(flowedge: Any) -> None:
    done = flowedge("tap", "street/Draw", "--picture", "now.xyz")
    assert done.returncode == 1
    assert done.stderr == "error: --picture now.xyz: a name that ends in .jpg, .jpeg, .png is needed\n"
