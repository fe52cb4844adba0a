"""Detect on a tiny network whose objects are known, and on a real one where there is one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from flowedge import ConfigError, Frame, Origin
from flowedge.inference.models import FOLDERS_VARIABLE, ModelError
from flowedge.operators import Detect
from flowedge.testing import run_operator

SIZE = 64
CELLS = 84  # grid cells of a 64 x 64 input
NAMES = ("person", "car")


@pytest.fixture
def model(tmp_path: Path) -> str:
    """A network that always sees a person of 16 x 32 at (8, 16), twice, and a car at (32, 32)."""
    output = np.zeros((1, 4 + len(NAMES), CELLS), np.float32)
    output[0, :, 3] = (16, 32, 16, 32, 0.9, 0.1)
    output[0, :, 4] = (17, 32, 16, 32, 0.8, 0.1)
    output[0, :, 9] = (40, 36, 16, 8, 0.0, 0.6)
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "objects"], ["output"]),
    ]
    constants = [
        helper.make_tensor("zero", TensorProto.FLOAT, [1], [0.0]),
        helper.make_tensor("objects", TensorProto.FLOAT, output.shape, output.ravel()),
    ]
    graph = helper.make_graph(
        nodes,
        "two objects",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, (1, 3, SIZE, SIZE))],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, output.shape)],
        constants,
    )
    network = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    helper.set_model_props(network, {"names": str(dict(enumerate(NAMES)))})
    path = tmp_path / "two.onnx"
    onnx.save(network, path)
    return str(path)


def frame(width: int = SIZE, height: int = SIZE, index: int = 0) -> Frame:
    origin = Origin("north", index=index, width=width, height=height)
    return Frame(origin, np.zeros((height, width, 3), np.uint8))


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_objects_come_in_source_pixels_and_once(model: str, engine: str) -> None:
    [found] = run_operator(Detect(model, engine=engine), [frame(128, 128)])  # type: ignore[arg-type]
    assert found.labels == ["person", "car"]
    np.testing.assert_allclose(found.boxes, [[16, 32, 48, 96], [64, 64, 96, 80]], atol=0.5)
    np.testing.assert_allclose(found.scores, [0.9, 0.6], atol=0.01)
    assert found.origin.camera == "north"


def test_letterboxing_is_undone(model: str) -> None:
    [found] = run_operator(Detect(model, classes=("car",)), [frame(128, 64)])
    np.testing.assert_allclose(found.boxes, [[64, 32, 96, 48]], atol=0.5)


def test_boxes_of_a_tile_are_in_pixels_of_the_whole(model: str) -> None:
    tile = frame(128, 128).crop((64, 64, 128, 128))
    [found] = run_operator(Detect(model, classes=("car",)), [tile])
    np.testing.assert_allclose(found.boxes, [[96, 96, 112, 104]], atol=0.5)


def test_confidence_and_classes_filter(model: str) -> None:
    assert run_operator(Detect(model, confidence=0.7), [frame()])[0].labels == ["person"]
    assert run_operator(Detect(model, classes=["car"]), [frame()])[0].labels == ["car"]
    assert len(run_operator(Detect(model, confidence=0.95), [frame()])[0]) == 0


def test_a_batch_gives_what_single_frames_give(model: str) -> None:
    detect = Detect(model)
    detect.setup()
    frames = [frame(64 * n, 64, index=n) for n in (1, 2, 3)]
    for alone, together in zip(map(detect.process, frames), detect.process_batch(frames), strict=True):
        np.testing.assert_array_equal(alone.boxes, together.boxes)
        assert alone.origin == together.origin


def test_the_surest_are_kept_and_the_rest_is_said(model: str, caplog: pytest.LogCaptureFixture) -> None:
    detect = Detect(model, most=1)
    detect.setup()
    assert [objects.labels for objects in detect.process_batch([frame(), frame(index=1)])] == [["person"]] * 2
    assert detect.cut == {"north": 2}
    [said] = caplog.messages
    assert "2 objects in a frame of camera north, of which the 1 surest are kept" in said


def test_nothing_is_cut_or_said_below_the_limit(model: str, caplog: pytest.LogCaptureFixture) -> None:
    detect = Detect(model, most=2)
    detect.setup()
    assert len(detect.process(frame())) == 2
    assert (detect.cut, caplog.messages) == ({}, [])


def test_a_head_that_shows_itself_late_is_read_then(tmp_path: Path) -> None:
    """A list that is empty for dark pictures: what its columns mean is seen in the first bright one."""
    row = np.zeros((1, 300, 6), np.float32)
    row[0, 0] = (16, 8, 48, 56, 0.9, 1)
    nodes = [
        helper.make_node("ReduceMax", ["images"], ["most"], keepdims=0),
        helper.make_node("Greater", ["most", "half"], ["bright"]),
        helper.make_node("Cast", ["bright"], ["one"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["one", "objects"], ["output"]),
    ]
    constants = [
        helper.make_tensor("half", TensorProto.FLOAT, [1], [0.8]),
        helper.make_tensor("objects", TensorProto.FLOAT, row.shape, row.ravel()),
    ]
    graph = helper.make_graph(
        nodes,
        "bright",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, (1, 3, SIZE, SIZE))],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, row.shape)],
        constants,
    )
    path = tmp_path / "bright.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    dark, bright = frame(), frame().replace(image=np.full((SIZE, SIZE, 3), 255, np.uint8))
    found = run_operator(Detect(str(path)), [dark, bright, dark])
    assert [len(objects) for objects in found] == [0, 1, 0]
    np.testing.assert_allclose(found[1].boxes, [[16, 8, 48, 56]], atol=0.1)
    assert found[1].labels == ["class 1"]


def test_an_unknown_class_suggests_the_near_one(model: str) -> None:
    with pytest.raises(ConfigError, match=r"no class 'persom'; did you mean \"person\"\?"):
        run_operator(Detect(model, classes=("persom",)), [])


def test_a_missing_model_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(FOLDERS_VARIABLE, str(tmp_path))
    with pytest.raises(ModelError, match="yolo99"):
        run_operator(Detect("yolo99"), [])


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"confidence": 1.5}, r"Detect\.confidence: 1\.5 is not a score from 0 to 1"),
        ({"overlap": 0.0}, r"Detect\.overlap: 0\.0 is not"),
        ({"most": 0}, r"Detect\.most: 0 is not a number of objects above 0"),
        ({"size": 0}, r"Detect\.size: 0 is not"),
        ({"classes": "person"}, r"Detect\.classes: 'person' is not a value of type Sequence"),
        ({"engine": "tensorrt"}, r"Detect\.engine: 'tensorrt' is not"),
    ],
)
def test_a_wrong_field_is_named(fields: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        Detect("yolo11n", **fields)  # type: ignore[arg-type]


def of_camera(camera: str, index: int = 0) -> Frame:
    return Frame(Origin(camera, index=index, width=SIZE, height=SIZE), np.zeros((SIZE, SIZE, 3), np.uint8))


def test_cameras_have_their_own_confidence_and_classes(model: str) -> None:
    step = Detect(model, confidence={"north": 0.7, "south": 0.95}, classes={"east": ("car",)})
    found = run_operator(step, [of_camera(camera) for camera in ("north", "south", "east", "west")])
    assert [objects.labels for objects in found] == [["person"], [], ["car"], ["person", "car"]]


def test_cameras_have_their_own_models_each_loaded_once(model: str, tmp_path: Path) -> None:
    network = onnx.load(model)
    helper.set_model_props(network, {"names": str({0: "hat", 1: "coat"})})
    onnx.save(network, other := str(tmp_path / "other.onnx"))
    step = Detect({"north": model, "south": other, "east": model}, classes={"south": ("coat",)})
    step.setup()
    found = step.process_batch([of_camera(camera) for camera in ("north", "south", "east", "south")])
    assert [objects.labels for objects in found] == [["person", "car"], ["coat"], ["person", "car"], ["coat"]]
    assert [objects.origin.camera for objects in found] == ["north", "south", "east", "south"]
    assert len(step._networks) == 2
    with pytest.raises(ValueError, match=r"Detect.model: there is no value for the camera west; it has north"):
        step.process(of_camera("west"))
    step.close()


def test_a_class_that_one_cameras_model_does_not_know_is_said_before_the_first_frame(model: str) -> None:
    with pytest.raises(
        ConfigError, match=r"Detect.classes: the model .* has no class 'cat'; did you mean \"car\"?"
    ):
        Detect(model, classes={"south": ("cat",)}).setup()


@pytest.mark.parametrize("confidence", [{"north": 1.5}, {"north": "high"}, {3: 0.5}])
def test_a_confidence_of_one_camera_is_checked_as_that_of_all(confidence: object) -> None:
    with pytest.raises(ConfigError, match=r"Detect.confidence: \{.* is not a"):
        Detect("yolo11n", confidence=confidence)  # type: ignore[arg-type]
