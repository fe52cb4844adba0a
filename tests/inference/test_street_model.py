"""The detector that ships with FlowEdge finds who is about in streets that it was not trained on."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest

import flowedge
from flowedge import Detections, Frame, Origin
from flowedge.operators import Detect
from flowedge.video.synthetic.scene import CLASSES, Scene
from flowedge.vision.evaluation import Ignore, detection_quality

WEIGHTS = Path(flowedge.__file__).parent / "inference" / "weights" / "street.onnx"
STREETS = 8  # the seeds from 0 on; training uses those from a million on
HIDDEN = Ignore(visible=0.3)


@functools.cache
def street(width: int, height: int, people: int, vehicles: int) -> tuple[list[Frame], list[Detections]]:
    """A frame of each held-out street and what is in it, the visible shares as scores."""
    frames, truth = [], []
    for seed in range(STREETS):
        image, objects = Scene(width, height, people, vehicles, seed).render(8.0 + seed)
        origin = Origin("street", index=seed, width=width, height=height)
        frames.append(Frame(origin, image))
        truth.append(Detections(origin, objects.boxes, objects.visibility, objects.classes, CLASSES))
    return frames, truth


def found_in(frames: list[Frame], detect: Detect) -> list[Detections]:
    detect.setup()
    found = []
    for start in range(0, len(frames), detect.batch):
        found.extend(detect.process_batch(frames[start : start + detect.batch]))
    return found


def test_it_is_small_enough_to_ship() -> None:
    assert WEIGHTS.stat().st_size <= 3_000_000


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_it_finds_people_and_cars_at_native_scale(engine: str) -> None:
    if engine == "onnxruntime":
        pytest.importorskip("onnxruntime", reason="the engine is an extra")
    frames, truth = street(640, 384, people=12, vehicles=4)
    detect = Detect(str(WEIGHTS), confidence=0.02, engine=engine)
    quality = detection_quality(found_in(frames, detect), truth, ignore=HIDDEN)
    assert set(quality.classes) == set(CLASSES)
    assert quality.classes["person"].ap50 >= 0.85
    assert quality.classes["car"].ap50 >= 0.85


def test_it_finds_people_and_cars_in_whole_frames() -> None:
    frames, truth = street(1280, 720, people=12, vehicles=4)
    quality = detection_quality(found_in(frames, Detect(str(WEIGHTS), confidence=0.02)), truth, ignore=HIDDEN)
    assert quality.classes["person"].ap50 >= 0.8
    assert quality.classes["car"].ap50 >= 0.85


def test_it_sees_nobody_in_an_empty_street() -> None:
    frames, _ = street(640, 384, people=0, vehicles=0)
    assert [len(found) for found in found_in(frames, Detect(str(WEIGHTS), confidence=0.5))] == [0] * STREETS


def test_what_it_is_sure_of_is_there() -> None:
    frames, truth = street(640, 384, people=12, vehicles=4)
    found = found_in(frames, Detect(str(WEIGHTS), confidence=0.5))
    quality = detection_quality(found, truth, ignore=HIDDEN, confidence=0.5)
    assert quality.precision >= 0.9
    assert quality.recall >= 0.7
