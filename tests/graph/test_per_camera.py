"""Settings by camera: what a graph says of names that it does not have, and of cameras without a value."""

from __future__ import annotations

from typing import Any

import pytest

from flowedge import ConfigError, Graph, Operator, Sink, synchronize
from flowedge.operators import (
    CountLines,
    CountZones,
    Crop,
    Detect,
    DetectFaces,
    MotionDetect,
    Null,
    Sample,
    Snapshot,
    VideoFile,
    Zones,
    video,
)
from tests.graph_steps import Camera, Drop, Track
from tests.graph_steps import Detect as Found

GATE = {"gate": (0, 0, 1, 1)}
DOOR = {"door": ((0, 0), (1, 0), (1, 1))}


def checked(step: Operator[Any, Any] | Sink[Any]) -> None:
    """Check a graph of two cameras with this step in it."""
    graph = Graph("graph")
    stream: Any = video(graph, {"north": "street://", "south": "street://"})
    if isinstance(step, CountLines | CountZones | Zones):
        stream = stream >> Found() >> Track()
    stream = stream >> step
    if stream is not None:
        stream >> Null()
    graph.check()


@pytest.mark.parametrize("kind", [Snapshot, VideoFile])
def test_one_file_for_two_cameras_is_refused_before_a_frame_comes(kind: Any) -> None:
    suffix = ".jpg" if kind is Snapshot else ".mp4"
    with pytest.raises(ConfigError, match=r"would hold the cameras north and south: put \{camera\} in it"):
        checked(kind(f"out{suffix}"))
    checked(kind(f"{{camera}}{suffix}"))


@pytest.mark.parametrize(
    "step",
    [
        Detect("yolo11n", confidence={"nroth": 0.3}),
        Detect("yolo11n", classes={"nroth": ("person",)}),
        Detect({"nroth": "yolo11n", "south": "street"}),
        MotionDetect(threshold={"nroth": 9.0}),
        MotionDetect(min_area={"nroth": 9.0}),
        Crop({"nroth": 0, "south": 0}, 0, 9, 9),
        DetectFaces(confidence={"nroth": 0.5}),
        Sample({"nroth": 5.0}),
        Snapshot("{camera}.jpg", every={"nroth": 5.0}),
        CountLines({"nroth": GATE}),
        Zones({"nroth": DOOR}),
        CountZones({"nroth": DOOR}),
    ],
    ids=lambda step: f"{step.name}",
)
def test_a_camera_that_the_graph_does_not_have_is_named_with_the_nearest(step: Any) -> None:
    with pytest.raises(ConfigError, match=r'the graph has no camera "nroth"; did you mean "north"\?'):
        checked(step)


@pytest.mark.parametrize(
    "step",
    [
        Detect({"north": "yolo11n", "south": "street"}, confidence={"south": 0.5}, classes={"north": ("car",)}),
        MotionDetect(threshold={"north": 9.0}),
        Sample({"north": 5.0, "south": 2}),
        Snapshot("{camera}.jpg", every={"south": 5}),
        CountLines({"north": GATE}),
        CountLines(GATE),
        Zones({"south": DOOR}),
        CountZones(DOOR),
    ],
    ids=lambda step: f"{step.name}",
)
def test_a_setting_may_name_some_cameras(step: Any) -> None:
    checked(step)


@pytest.mark.parametrize("step", [Detect({"north": "yolo11n"}), Sample({"north": 5.0})])
def test_a_setting_without_a_default_names_every_camera(step: Any) -> None:
    sentence = rf"{step.name}.\w+: there is no value for the camera south; it has north"
    with pytest.raises(ConfigError, match=sentence):
        checked(step)


def test_cameras_of_other_sources_count_only_where_they_come_by() -> None:
    graph = Graph("graph")
    north, south = (graph.source(Camera({name: "test://"}, name=name)) for name in ("north", "south"))
    two = synchronize(north >> Sample({"north": 5}), south, name="two")
    two >> Drop()
    graph.check()
    north >> Sample({"south": 5}, name="other") >> Drop(name="end")
    with pytest.raises(ConfigError, match=r'other.fps: the graph has no camera "south"'):
        graph.check()


def test_a_value_of_another_type_is_refused_for_one_camera_as_for_all() -> None:
    with pytest.raises(ConfigError, match=r"Sample.fps: \{'north': 'fast'\} is not a value of type"):
        Sample({"north": "fast"})  # type: ignore[dict-item]
    with pytest.raises(ConfigError, match=r"Sample.fps: \{'north': 0\} is not a number of frames"):
        Sample({"north": 0})
