"""DetectFaces: what it refuses, and faces of people where the model and pictures are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from flowedge import ConfigError, Frame, Origin
from flowedge.inference.models import FOLDERS_VARIABLE, ModelError
from flowedge.operators import DetectFaces
from flowedge.testing import run_operator
from tests.operators.face_pictures import network


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
    with pytest.raises(ModelError, match=r"there is no model 'yunet99'.* yunet99\.onnx"):
        DetectFaces("yunet99").setup()


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"size": 8}, r"DetectFaces\.size: 8 is not a number of pixels from 32"),
        ({"confidence": -1.0}, r"DetectFaces\.confidence: -1\.0 is not"),
        ({"confidence": {"north": 2.0}}, r"DetectFaces\.confidence: \{'north': 2\.0\} is not a score"),
        ({"overlap": 0.0}, r"DetectFaces\.overlap: 0\.0 is not"),
        ({"model": 3}, r"DetectFaces\.model: 3 is not a value of type str"),
    ],
)
def test_a_wrong_field_is_named(fields: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        DetectFaces(**fields)  # type: ignore[arg-type]


def test_two_people_have_two_faces_wherever_they_are_looked_for(face_photos: dict[str, Frame]) -> None:
    whole = face_photos["two_people"]
    crop = whole.crop((600, 0, whole.width, whole.height))
    small = whole.replace(image=whole.bgr(whole.width // 2, whole.height // 2))
    faces, of_crop, of_small = run_operator(DetectFaces(), [whole, crop, small])
    assert (len(faces), len(of_crop), len(of_small)) == (2, 1, 2)
    right = faces.select(faces.boxes[:, 0] > 600)
    np.testing.assert_allclose(of_crop.boxes, right.boxes, atol=15)
    np.testing.assert_allclose(of_crop.landmarks, right.landmarks, atol=15)
    assert of_crop.region == (600, 0, whole.width, whole.height)
    for result in (faces, of_crop, of_small):
        low, high = result.boxes[:, None, :2], result.boxes[:, None, 2:]
        assert ((low < result.landmarks) & (result.landmarks < high)).all()
        eyes, mouth = result.landmarks[:, :2], result.landmarks[:, 3:]
        assert (eyes[..., 1].max(axis=1) < mouth[..., 1].min(axis=1)).all()
        assert (eyes[:, 0, 0] < eyes[:, 1, 0]).all()


def test_each_camera_has_its_own_confidence(face_photos: dict[str, Frame]) -> None:
    north = face_photos["two_people"]
    both = [replace(north, origin=replace(north.origin, camera=camera)) for camera in ("north", "south")]
    found = run_operator(DetectFaces(confidence={"north": 0.999}), both)
    assert [len(faces) for faces in found] == [0, 2]


def test_an_empty_picture_has_no_faces(face_photos: dict[str, Frame]) -> None:
    blank = Frame(Origin("north", width=640, height=10), np.zeros((10, 640, 3), np.uint8))
    [faces] = run_operator(DetectFaces(), [blank])
    assert (faces.boxes.shape, faces.landmarks.shape) == ((0, 4), (0, 5, 2))
