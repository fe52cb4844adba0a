"""Faces: their geometry on tiny networks made here, and real ones where models and pictures are."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper

from flowedge import ConfigError, Faces, Frame, Origin
from flowedge.inference.models import FOLDERS_VARIABLE, ModelError
from flowedge.operators import DetectFaces, EmbedFaces
from flowedge.testing import run_operator
from flowedge.vision.faces import alignments

# InsightFace's template, as its source has it.
TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]],
    np.float32,
)
POOL = 16  # pixels of the face that the tiny network averages
COLOURS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (0, 255, 255)]


def network(folder: Path, side: int | None = 112, flat: bool = True) -> str:
    """A network whose output is its input in coarse squares, plane by plane."""
    nodes = [
        helper.make_node(
            "AveragePool", ["input"], ["pooled"], kernel_shape=[POOL] * 2, strides=[POOL] * 2, name="pool"
        ),
        helper.make_node("Flatten", ["pooled"], ["output"]) if flat else None,
    ]
    size = side or "any"
    given = [1, None] if flat else [1, 3, None, None]
    graph = helper.make_graph(
        [node for node in nodes if node],
        "squares",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, (1, 3, size, size))],
        [helper.make_tensor_value_info("output" if flat else "pooled", TensorProto.FLOAT, given)],
    )
    path = folder / f"squares-{side}-{flat}.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return str(path)


def placed(turn: float, scale: float, x: float, y: float) -> NDArray[np.float32]:
    """The template turned (radians), scaled and moved."""
    way = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    return (TEMPLATE @ way * scale + (x, y)).astype(np.float32)


def picture(*faces: NDArray[np.float32]) -> Frame:
    """A frame of 400 x 500 with a disc of another colour at each landmark of each face."""
    image = np.full((400, 500, 3), 90, np.uint8)
    for points in faces:
        radius = round(float(np.linalg.norm(points[1] - points[0])) / 4)
        for (x, y), colour in zip(points, COLOURS, strict=True):
            cv2.circle(image, (round(float(x)), round(float(y))), radius, colour, -1)
    return Frame(Origin("north", width=500, height=400), image)


def found(frame: Frame, *faces: NDArray[np.float32]) -> Faces:
    boxes = [[*points.min(axis=0), *points.max(axis=0)] for points in faces]
    count = len(faces)
    landmarks = np.array(faces).reshape(count, 5, 2)
    return Faces(frame.origin, boxes, [0.9] * count, [0] * count, ("face",), landmarks=landmarks)


@given(turn=st.floats(-3.1, 3.1), scale=st.floats(0.05, 20), x=st.floats(-2000, 2000), y=st.floats(-2000, 2000))
def test_an_alignment_undoes_turn_scale_and_move(turn: float, scale: float, x: float, y: float) -> None:
    points = placed(turn, scale, x, y)
    [matrix] = alignments(points[None])
    np.testing.assert_allclose(points @ matrix[:, :2].T + matrix[:, 2], TEMPLATE, atol=0.1)


@given(noise=st.lists(st.floats(-8, 8), min_size=10, max_size=10), more=st.lists(st.floats(-1, 1), min_size=4))
def test_no_other_similarity_comes_nearer(noise: list[float], more: list[float]) -> None:
    points = TEMPLATE + np.array(noise, np.float32).reshape(5, 2)
    [matrix] = alignments(points[None])

    def far(a: float, b: float, x: float, y: float) -> float:
        moved = points.astype(float) @ np.array([[a, -b], [b, a]]).T + (x, y)
        return float(((moved - TEMPLATE) ** 2).sum())

    best = matrix[0, 0], matrix[1, 0], matrix[0, 2], matrix[1, 2]
    other = [value + delta for value, delta in zip(best, more, strict=False)]
    assert far(*best) <= far(*other) + 1e-3


def test_landmarks_in_one_point_break_nothing() -> None:
    assert np.isfinite(alignments(np.ones((1, 5, 2), np.float32))).all()
    assert alignments(np.empty((0, 5, 2), np.float32)).shape == (0, 2, 3)


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_a_face_looks_the_same_however_it_is_held(tmp_path: Path, engine: str) -> None:
    upright, turned = placed(0, 1, 20, 20), placed(1.2, 2, 300, 120)
    frame = picture(upright, turned)
    other = upright[[4, 3, 2, 1, 0]]  # the same place read upside down
    embed = EmbedFaces(network(tmp_path), engine=engine)  # type: ignore[arg-type]
    [faces] = run_operator(embed, [(frame, found(frame, upright, turned, other))])
    assert faces.embeddings.shape == (3, 3 * (112 // POOL) ** 2)
    np.testing.assert_allclose(np.linalg.norm(faces.embeddings, axis=1), 1, atol=1e-3)
    cosines = faces.embeddings @ faces.embeddings.T
    assert cosines[0, 1] > 0.95
    assert cosines[0, 2] < 0.8


def test_the_network_sees_red_first_from_minus_1_to_1(tmp_path: Path) -> None:
    frame = Frame(Origin("north", width=200, height=200), np.full((200, 200, 3), (0, 0, 255), np.uint8))
    [faces] = run_operator(EmbedFaces(network(tmp_path)), [(frame, found(frame, placed(0, 1, 40, 40)))])
    red, green, blue = faces.embeddings.reshape(3, -1).mean(axis=1)
    assert red > 0
    np.testing.assert_allclose([green, blue], -red, rtol=0.02)


def test_faces_of_a_crop_and_of_a_smaller_picture_are_the_same(tmp_path: Path) -> None:
    points = placed(0.3, 1.5, 150, 100)
    frame = picture(points)
    crop = frame.crop((100, 80, 420, 360))
    small = frame.replace(image=frame.bgr(250, 200))
    pairs = [(each, found(frame, points)) for each in (frame, crop, small)]
    rows = np.concatenate([faces.embeddings for faces in run_operator(EmbedFaces(network(tmp_path)), pairs)])
    assert (rows @ rows[0] > 0.99).all()


def test_frames_that_wait_together_keep_their_faces(tmp_path: Path) -> None:
    places = [placed(0, 1, 20, 20), placed(2, 1.5, 250, 150), placed(-1, 0.7, 350, 300)]
    frame = picture(*places)
    embed = EmbedFaces(network(tmp_path))
    embed.setup()
    pairs = [(frame, found(frame, *places[:count])) for count in (1, 0, 3)]
    together = embed.process_batch(pairs)
    for pair, faces in zip(pairs, together, strict=True):
        np.testing.assert_allclose(embed.process(pair).embeddings, faces.embeddings, atol=0.02)
        assert faces.embeddings.shape == (len(pair[1]), 147)
        assert faces.labels == ["face"] * len(pair[1])


def test_faces_without_landmarks_are_refused(tmp_path: Path) -> None:
    frame = picture()
    bare = Faces(frame.origin, [[0, 0, 9, 9]], [0.9], [0])
    with pytest.raises(ConfigError, match=r"without landmarks: put DetectFaces\(\) before it"):
        run_operator(EmbedFaces(network(tmp_path)), [(frame, bare)])


def test_a_network_that_embeds_no_faces_is_refused(tmp_path: Path) -> None:
    for side, flat, sentence in (
        (64, True, r"squares-64-True\.onnx cannot embed faces: .* of a picture of 64 x 64 pixels"),
        (112, False, r"squares-112-False\.onnx cannot embed faces: it makes 3 x 7 x 7 numbers"),
        (None, False, r"squares-None-False\.onnx cannot embed faces: it makes 3 x 7 x 7 numbers"),
    ):
        with pytest.raises(ModelError, match=sentence):
            EmbedFaces(network(tmp_path, side, flat)).setup()


def test_a_network_that_finds_no_faces_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("not a network")
    for model in (network(tmp_path), str(tmp_path / "text.onnx")):
        with pytest.raises(
            ModelError, match=rf"^DetectFaces\.model: {Path(model).name} is not a YuNet"
        ) as caught:
            DetectFaces(model).setup()
        assert "\n" not in str(caught.value)


def test_a_missing_model_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(FOLDERS_VARIABLE, str(tmp_path))
    for step in (DetectFaces("yunet99"), EmbedFaces("arcface99")):
        with pytest.raises(ModelError, match=f"there is no model '{step.model}'.* {step.model}.onnx"):
            step.setup()


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"size": 8}, r"DetectFaces\.size: 8 is not a number of pixels from 32"),
        ({"confidence": -1.0}, r"DetectFaces\.confidence: -1\.0 is not"),
        ({"overlap": 0.0}, r"DetectFaces\.overlap: 0\.0 is not"),
        ({"model": 3}, r"DetectFaces\.model: 3 is not a value of type str"),
    ],
)
def test_a_wrong_field_is_named(fields: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        DetectFaces(**fields)  # type: ignore[arg-type]


# ---------------------------------------------------------------- real faces


@pytest.fixture(scope="module")
def pictures() -> dict[str, Frame]:
    folder = Path(os.environ.get("FLOWEDGE_DATA", ""), "faces")
    models = os.environ.get(FOLDERS_VARIABLE, "").split(os.pathsep)
    needed = ("yunet.onnx", "mobilefacenet.onnx")
    if not all(any(Path(each, name).is_file() for each in models) for name in needed):
        pytest.skip(f"{FOLDERS_VARIABLE} names no folder with {' and '.join(needed)}")
    if not (folder / "two_people.jpg").is_file():
        pytest.skip("FLOWEDGE_DATA names no folder with faces/two_people.jpg")
    frames = {}
    for path in folder.glob("*.[jp][pn]g"):
        image = np.asarray(cv2.imread(str(path)), np.uint8)
        origin = Origin(path.stem, width=image.shape[1], height=image.shape[0])
        frames[path.stem] = Frame(origin, image)
    return frames


def test_two_people_have_two_faces_wherever_they_are_looked_for(pictures: dict[str, Frame]) -> None:
    whole = pictures["two_people"]
    crop = whole.crop((600, 0, whole.width, whole.height))
    small = whole.replace(image=whole.bgr(whole.width // 2, whole.height // 2))
    faces, of_crop, of_small = run_operator(DetectFaces(), [whole, crop, small])
    assert (len(faces), len(of_crop), len(of_small)) == (2, 1, 2)
    right = faces.select(faces.boxes[:, 0] > 600)
    np.testing.assert_allclose(of_crop.boxes, right.boxes, atol=15)
    np.testing.assert_allclose(of_crop.landmarks, right.landmarks, atol=15)
    assert of_crop.region == (600, 0, whole.width, whole.height)
    for each in (faces, of_crop, of_small):
        low, high = each.boxes[:, None, :2], each.boxes[:, None, 2:]
        assert ((low < each.landmarks) & (each.landmarks < high)).all()
        eyes, mouth = each.landmarks[:, :2], each.landmarks[:, 3:]
        assert (eyes[..., 1].max(axis=1) < mouth[..., 1].min(axis=1)).all()
        assert (eyes[:, 0, 0] < eyes[:, 1, 0]).all()


def test_an_empty_picture_has_no_faces(pictures: dict[str, Frame]) -> None:
    blank = Frame(Origin("north", width=640, height=10), np.zeros((10, 640, 3), np.uint8))
    [faces] = run_operator(DetectFaces(), [blank])
    assert (faces.boxes.shape, faces.landmarks.shape) == ((0, 4), (0, 5, 2))
    [embedded] = run_operator(EmbedFaces(), [(blank, faces)])
    assert embedded.embeddings.shape == (0, 128)


def test_pictures_of_one_person_are_alike_and_of_two_are_not(pictures: dict[str, Frame]) -> None:
    frames = [pictures[name] for name in ("obama", "obama2", "biden", "alex-lacamoire", "lin-manuel-miranda")]
    pairs = list(zip(frames, run_operator(DetectFaces(), frames), strict=True))
    rows = np.concatenate([faces.embeddings for faces in run_operator(EmbedFaces(), pairs)])
    cosines = rows @ rows.T
    assert cosines[0, 1] > 0.55
    cosines[[0, 1], [1, 0]] = 0
    assert (cosines - np.eye(5)).max() < 0.3
