"""EmbedFaces: with a tiny network made here, and with a real one where models and pictures are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from flowedge import ConfigError, Faces, Frame, Origin
from flowedge.inference.models import FOLDERS_VARIABLE, ModelError
from flowedge.operators import DetectFaces, EmbedFaces
from flowedge.testing import run_operator
from tests.operators.face_pictures import POOL, detected, network, picture, placed


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_a_face_looks_the_same_however_it_is_held(tmp_path: Path, engine: str) -> None:
    upright, turned = placed(0, 1, 20, 20), placed(1.2, 2, 300, 120)
    frame = picture(upright, turned)
    other = upright[[4, 3, 2, 1, 0]]  # the same place read upside down
    embed = EmbedFaces(network(tmp_path), engine=engine)  # type: ignore[arg-type]
    [faces] = run_operator(embed, [(frame, detected(frame, upright, turned, other))])
    assert faces.embeddings.shape == (3, 3 * (112 // POOL) ** 2)
    np.testing.assert_allclose(np.linalg.norm(faces.embeddings, axis=1), 1, atol=1e-3)
    cosines = faces.embeddings @ faces.embeddings.T
    assert cosines[0, 1] > 0.95
    assert cosines[0, 2] < 0.8


def test_the_network_sees_red_first_from_minus_1_to_1(tmp_path: Path) -> None:
    frame = Frame(Origin("north", width=200, height=200), np.full((200, 200, 3), (0, 0, 255), np.uint8))
    [faces] = run_operator(EmbedFaces(network(tmp_path)), [(frame, detected(frame, placed(0, 1, 40, 40)))])
    red, green, blue = faces.embeddings.reshape(3, -1).mean(axis=1)
    assert red > 0
    np.testing.assert_allclose([green, blue], -red, rtol=0.02)


def test_faces_of_a_crop_and_of_a_smaller_picture_are_the_same(tmp_path: Path) -> None:
    points = placed(0.3, 1.5, 150, 100)
    frame = picture(points)
    crop = frame.crop((100, 80, 420, 360))
    small = frame.replace(image=frame.bgr(250, 200))
    pairs = [(view, detected(frame, points)) for view in (frame, crop, small)]
    rows = np.concatenate([faces.embeddings for faces in run_operator(EmbedFaces(network(tmp_path)), pairs)])
    assert (rows @ rows[0] > 0.99).all()


def test_frames_that_wait_together_keep_their_faces(tmp_path: Path) -> None:
    places = [placed(0, 1, 20, 20), placed(2, 1.5, 250, 150), placed(-1, 0.7, 350, 300)]
    frame = picture(*places)
    embed = EmbedFaces(network(tmp_path))
    embed.setup()
    pairs = [(frame, detected(frame, *places[:count])) for count in (1, 0, 3)]
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


def test_a_missing_model_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(FOLDERS_VARIABLE, str(tmp_path))
    with pytest.raises(ModelError, match=r"there is no model 'arcface99'.* arcface99\.onnx"):
        EmbedFaces("arcface99").setup()


def test_no_faces_have_no_embeddings(face_photos: dict[str, Frame]) -> None:
    blank = Frame(Origin("north", width=640, height=10), np.zeros((10, 640, 3), np.uint8))
    [embedded] = run_operator(EmbedFaces(), [(blank, detected(blank))])
    assert embedded.embeddings.shape == (0, 128)


def test_pictures_of_one_person_are_alike_and_of_two_are_not(face_photos: dict[str, Frame]) -> None:
    frames = [
        face_photos[name] for name in ("obama", "obama2", "biden", "alex-lacamoire", "lin-manuel-miranda")
    ]
    pairs = list(zip(frames, run_operator(DetectFaces(), frames), strict=True))
    rows = np.concatenate([faces.embeddings for faces in run_operator(EmbedFaces(), pairs)])
    cosines = rows @ rows.T
    assert cosines[0, 1] > 0.55
    cosines[[0, 1], [1, 0]] = 0
    assert (cosines - np.eye(5)).max() < 0.3
