"""Both engines on tiny networks made here, and on a real detector where there is one."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from flowedge.inference import engines as inference
from flowedge.inference.engines import Engine, Model, load
from flowedge.inference.models import FOLDERS_VARIABLE, ModelError, resolve
from flowedge.inference.yolo import BGR_255, RGB_1, Normalise

SIZE = 32
CELLS = 21  # grid cells of a 32 x 32 input


@pytest.fixture(params=["openvino", "onnxruntime"])
def engine(request: pytest.FixtureRequest) -> Engine:
    chosen: Engine = request.param
    return chosen


Shape = tuple[int | str, ...]
Build = Callable[..., Path]


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """Writes a network whose output repeats its input's pixels in the shape of some detector's output."""

    def write(
        taken: Shape = (1, 3, SIZE, SIZE),
        given: tuple[int, ...] = (1, 84, CELLS),
        names: str | None = None,
        kind: int = TensorProto.FLOAT,
        outputs: tuple[str, ...] = ("output",),
    ) -> Path:
        count = int(np.prod(given[1:]))
        nodes = [
            helper.make_node("Cast", ["images"], ["float"], to=TensorProto.FLOAT),
            helper.make_node("Flatten", ["float"], ["flat"]),
            helper.make_node("Slice", ["flat", "zero", "count", "one"], ["some"]),
            helper.make_node("Reshape", ["some", "given"], ["output"]),
        ]
        values = {"zero": [0], "count": [count], "one": [1], "given": list(given)}
        constants = [
            helper.make_tensor(name, TensorProto.INT64, [len(value)], value) for name, value in values.items()
        ]
        graph = helper.make_graph(
            nodes,
            "pixels",
            [helper.make_tensor_value_info("images", kind, taken)],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs[1:]]
            + [helper.make_tensor_value_info("output", TensorProto.FLOAT, given)],
            constants,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        if names is not None:
            helper.set_model_props(model, {"names": names})
        path = tmp_path / "tiny.onnx"
        onnx.save(model, path)
        return path

    return write


def pictures(count: int, size: int = SIZE) -> list[NDArray[np.uint8]]:
    random = np.random.default_rng(count)
    return [random.integers(0, 256, (size, size, 3), np.uint8) for _ in range(count)]


def expected(image: NDArray[np.uint8], shape: tuple[int, int], normalise: Normalise) -> NDArray[np.float32]:
    planes = image[:, :, ::-1] if normalise.rgb else image
    pixels = (planes.astype(np.float32) * normalise.scale - normalise.mean) / normalise.deviation
    flat = pixels.transpose(2, 0, 1).ravel()
    return flat[: shape[0] * shape[1]].reshape(shape)


def test_rgb_planes_of_0_to_1_are_usual(build: Build, engine: Engine) -> None:
    model = load(build(), engine)
    assert (model.input_size, model.output_shape) == ((SIZE, SIZE), (84, CELLS))
    [image] = pictures(1)
    [output] = model.outputs([image])
    assert output.dtype == np.float32
    np.testing.assert_allclose(output, expected(image, (84, CELLS), RGB_1), rtol=1e-2)


def test_pixels_are_fed_otherwise_from_now_on(build: Build, engine: Engine) -> None:
    model = load(build(given=(1, CELLS, 85)), engine)
    [image] = pictures(1)
    for normalise in (RGB_1, BGR_255):
        model.feed(normalise)
        for count in (1, 2):
            output = next(model.outputs([image] * count))
            np.testing.assert_allclose(output, expected(image, (CELLS, 85), normalise), rtol=1e-2)


def test_every_output_is_given_in_order(build: Build, engine: Engine) -> None:
    model = load(build(given=(1, 128), outputs=("output", "flat")), engine)
    shapes = dict(zip(model.output_names, next(model.all_outputs(pictures(1))), strict=True))
    assert {name: output.shape for name, output in shapes.items()} == {"output": (128,), "flat": (3 * SIZE**2,)}


def test_mean_and_deviation_are_taken_in_the_network_s_order_of_colours(build: Build, engine: Engine) -> None:
    normalise = Normalise(rgb=True, scale=1 / 255, mean=(0.1, 0.2, 0.3), deviation=(0.5, 0.25, 0.125))
    [image] = pictures(1)
    [output] = load(build(given=(1, 128)), engine, normalise=normalise).outputs([image])
    np.testing.assert_allclose(output, expected(image, (1, 128), normalise)[0], rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("count", [0, 2, 3, 7])
def test_several_pictures_keep_their_order(build: Build, engine: Engine, count: int) -> None:
    model = load(build(), engine)
    images = pictures(count)
    outputs = list(model.outputs(images))
    assert len(outputs) == count
    for image, output in zip(images, outputs, strict=True):
        np.testing.assert_allclose(output, expected(image, (84, CELLS), RGB_1), rtol=1e-2)


def test_results_outlive_the_next_call(build: Build, engine: Engine) -> None:
    model = load(build(), engine)
    first, second = pictures(2)
    for together in (1, 2):
        kept = list(model.outputs([first] * together))
        before = [output.copy() for output in kept]
        list(model.outputs([second] * together))
        for output, copy in zip(kept, before, strict=True):
            np.testing.assert_array_equal(output, copy)


def test_read_only_and_strided_pictures_are_taken(build: Build, engine: Engine) -> None:
    model = load(build(), engine)
    [wide] = pictures(1, 2 * SIZE)
    strided = wide[::2, ::2]
    frozen = strided.copy()
    frozen.flags.writeable = False
    for output in (*model.outputs([strided]), *model.outputs([frozen]), *model.outputs([strided, frozen])):
        np.testing.assert_allclose(output, expected(frozen, (84, CELLS), RGB_1), rtol=1e-2)


@pytest.mark.parametrize(
    "image", [np.zeros((SIZE, SIZE, 3), np.float32), np.zeros((SIZE, 16, 3), np.uint8)], ids=["type", "shape"]
)
def test_other_pictures_are_refused(build: Build, engine: Engine, image: NDArray[Any]) -> None:
    with pytest.raises(ValueError, match="takes 32 x 32 x 3 pixels of uint8"):
        list(load(build(), engine).outputs([image]))


# --- sizes ---


def test_an_open_size_must_be_given(build: Build, engine: Engine) -> None:
    path = build(taken=("batch", 3, "height", "width"))
    assert load(path, engine, size=SIZE).input_size == (SIZE, SIZE)
    with pytest.raises(ModelError, match="any size: say which, for example size=640"):
        load(path, engine)


def test_a_fixed_size_cannot_be_changed(build: Build, engine: Engine) -> None:
    path = build()
    assert load(path, engine, size=SIZE).input_size == (SIZE, SIZE)
    with pytest.raises(ModelError, match="takes pictures of 32 x 32 pixels, not 416 x 416"):
        load(path, engine, size=416)


def test_a_size_the_network_cannot_take_is_refused(build: Build, engine: Engine) -> None:
    path = build(taken=(1, 3, "height", "width"))
    with pytest.raises(ModelError, match=r"tiny\.onnx cannot take pictures of 16 x 16 pixels"):
        load(path, engine, size=16)


def test_an_oblong_input(build: Build, engine: Engine) -> None:
    model = load(build(taken=(1, 3, SIZE, 2 * SIZE), given=(1, 84, 2 * CELLS)), engine)
    assert model.input_size == (SIZE, 2 * SIZE)
    assert next(model.outputs([np.zeros((SIZE, 2 * SIZE, 3), np.uint8)])).shape == (84, 2 * CELLS)


# --- names ---


@pytest.mark.parametrize(
    "written",
    [
        "{0: 'hard hat', 1: \"worker's vest\"}",
        '{"0": "hard hat", "1": "worker\'s vest"}',
        "['hard hat', \"worker's vest\"]",
    ],
    ids=["dictionary", "JSON", "list"],
)
def test_names_come_from_the_model(build: Build, engine: Engine, written: str) -> None:
    assert load(build(given=(1, 6, CELLS), names=written), engine).names == ("hard hat", "worker's vest")


def test_a_model_may_name_nothing(build: Build, engine: Engine) -> None:
    assert load(build(), engine).names is None


@pytest.mark.parametrize("written", ["person, car", "'person'", "{1: 'person'}", "7"])
def test_names_that_cannot_be_read_are_refused(build: Build, engine: Engine, written: str) -> None:
    with pytest.raises(ModelError, match=r"tiny\.onnx has class names that cannot be read"):
        _ = load(build(names=written), engine).names


# --- what cannot be loaded ---


def test_a_missing_file(tmp_path: Path, engine: Engine) -> None:
    with pytest.raises(ModelError, match=r"no model file '.*none\.onnx'"):
        load(tmp_path / "none.onnx", engine)


@pytest.mark.parametrize("content", [b"", b"this is no network"])
def test_a_file_that_is_no_model(tmp_path: Path, engine: Engine, content: bytes) -> None:
    path = tmp_path / "bad.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"cannot read bad\.onnx as an ONNX model") as refused:
        load(path, engine)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("taken", [(1, SIZE, SIZE, 3), (1, 3, SIZE * SIZE), (2, 3, SIZE, SIZE)])
def test_another_input_layout(build: Build, engine: Engine, taken: tuple[int, ...]) -> None:
    with pytest.raises(ModelError, match=r"where one input of 1 x 3 x height x width is needed"):
        load(build(taken=taken, given=(taken[0], 5, CELLS)), engine)


def test_half_precision_is_taken(build: Build, engine: Engine) -> None:
    [image] = pictures(1)
    [output] = load(build(kind=TensorProto.FLOAT16), engine).outputs([image])
    np.testing.assert_allclose(output, expected(image, (84, CELLS), RGB_1), rtol=1e-2)


def test_another_input_type(build: Build, engine: Engine) -> None:
    with pytest.raises(ModelError, match="where float32 or float16 is needed"):
        load(build(kind=TensorProto.UINT8), engine)


def test_another_engine(build: Build) -> None:
    with pytest.raises(ModelError, match="no inference engine 'tensorrt': choose openvino or onnxruntime"):
        load(build(), "tensorrt")  # type: ignore[arg-type]


# --- a real detector ---


@pytest.fixture
def detector(engine: Engine) -> Model:
    if not os.environ.get(FOLDERS_VARIABLE):
        pytest.skip(f"{FOLDERS_VARIABLE} names no folder with yolo11n-640.onnx")
    try:
        return load(resolve("yolo11n-640.onnx"), engine, precision="f32")
    except ModelError as error:
        pytest.skip(str(error))


def test_one_and_several_agree_on_a_real_detector(detector: Model) -> None:
    images = pictures(3, 640)
    together = list(detector.outputs(images))
    for image, output in zip(images, together, strict=True):
        np.testing.assert_allclose(next(detector.outputs([image])), output, rtol=1e-3, atol=1e-2)


def test_inference_lets_other_threads_run(detector: Model) -> None:
    """A thread that counts must go on counting while the network works: the GIL is released."""
    images = pictures(1, 640)
    list(detector.outputs(images))
    ticks = 0
    done = threading.Event()

    def count() -> None:
        nonlocal ticks
        while not done.wait(0.002):
            ticks += 1

    thread = threading.Thread(target=count)
    thread.start()
    calls = 20
    for _ in range(calls):
        list(detector.outputs(images))
    done.set()
    thread.join()
    # With the GIL held it counts once or twice in a call of 60 ms; else 30 times, on a busy machine fewer.
    assert ticks > 3 * calls


def test_the_engines_agree(detector: Model, engine: Engine) -> None:
    [image] = pictures(1, 640)
    other: Engine = "onnxruntime" if engine == "openvino" else "openvino"
    reference = inference.load(detector.path, other, precision="f32")
    ours, theirs = (next(model.outputs([image])) for model in (detector, reference))
    np.testing.assert_allclose(ours, theirs, rtol=1e-2, atol=5e-2)
