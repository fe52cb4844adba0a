"""flowedge tap: looking at a graph that runs."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from typing import Any

import cv2
import pytest

from flowedge import Event, Origin
from flowedge.plane.topics import announced, open_router
from flowedge.wire.blocks import encode
from tests.cli.conftest import SECONDS, Flowedge

STREET = """
from flowedge import Graph, join
from flowedge.operators import Draw, MotionDetect, Null, video
graph = Graph("street")
frames = video(graph, "street://?live=1&width=320&height=240&seconds=600&people=2&vehicles=1")
join(frames, frames >> MotionDetect()) >> Draw() >> Null()
"""


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The command in the folder of a graph that runs, which all may look at."""
    command = Flowedge(tmp_path_factory.mktemp("street"))
    (command.folder / "street.py").write_text(STREET)
    process = command.start("run", "street.py")
    assert any("running street" in line for line in process.stderr)
    yield command
    command.kill_all()


def test_detections_come_as_json_lines(street: Any) -> None:
    done = street.process("tap", "street/MotionDetect", "--count", "3")
    assert done.returncode == 0, done.stderr
    values = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(values) == 3
    assert values[0]["camera"] == "camera"
    assert values[0]["frame"] < values[1]["frame"] < values[2]["frame"]
    assert all("objects" in value for value in values)


def test_pictures_can_be_kept(street: Any) -> None:
    done = street("tap", "street/Draw", "--count", "1", "--picture", "now.jpg")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["picture"] == [320, 240]
    picture = cv2.imread(str(street.folder / "now.jpg"))
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
    process = flowedge.start("run", "street.py")
    assert any("running street" in line for line in process.stderr)
    tap = flowedge.start("tap", "street/MotionDetect")
    assert json.loads(tap.stdout.readline())
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=SECONDS)
    _, errors = tap.communicate(timeout=SECONDS)
    assert tap.returncode == 1
    assert errors == "error: street has ended\n"


def test_a_picture_needs_a_name_that_says_its_kind(flowedge: Any) -> None:
    done = flowedge("tap", "street/Draw", "--picture", "now.xyz")
    assert done.returncode == 1
    assert done.stderr == "error: --picture now.xyz: a name that ends in .jpg, .jpeg, .png is needed\n"


def test_junk_on_a_topic_is_counted_and_does_not_end_a_tap(
    flowedge: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(flowedge.folder))
    good = bytes(encode(Event(Origin("north"), "door", {})))
    other = bytes(encode(Event(Origin("south"), "door", {})))
    newer = good[:4] + b"\xff\xff" + good[6:]
    session, endpoint = open_router()
    matched = threading.Event()
    with session, announced("g", endpoint, ["Door"]):
        publisher = session.declare_publisher("flowedge/g/Door/north")
        publisher.declare_matching_listener(lambda status: matched.set() if status.matching else None)
        process = flowedge.start("tap", "g/Door", "--count", "2")
        assert matched.wait(SECONDS)
        for message in (b"junk", b"", good[:-5], newer, good, other, good):
            publisher.put(message)
        output, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, errors
    assert len(output.splitlines()) == 2
    first, last = errors.splitlines()
    assert first.startswith("flowedge/g/Door/north: a message was refused: ")
    assert last.startswith("5 messages were refused: ")
    assert "1 x a value of another camera than its topic's" in last
