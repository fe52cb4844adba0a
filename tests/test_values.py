"""Faces: columns that may be open."""

from __future__ import annotations

import numpy as np
import pytest

from flowedge import Faces, Origin
from flowedge.values import InvalidValueError

NORTH = Origin("north")
BOXES = [[0, 0, 9, 9], [5, 5, 20, 20]]


def faces(**columns: object) -> Faces:
    return Faces(NORTH, BOXES, [0.9, 0.8], [0, 0], ("face",), **columns)  # type: ignore[arg-type]


def test_faces_need_neither_embeddings_nor_landmarks() -> None:
    bare = faces()
    assert (bare.embeddings.shape, bare.landmarks.shape) == ((2, 0), (2, 0, 2))
    assert (bare.embeddings.dtype, bare.landmarks.dtype) == (np.float32, np.float32)
    assert bare.select([True, False]).landmarks.shape == (1, 0, 2)
    none = Faces(NORTH, [], [], [], embeddings=[], landmarks=[])
    assert (none.embeddings.shape, none.landmarks.shape) == ((0, 0), (0, 0, 2))


def test_landmarks_and_embeddings_follow_their_faces() -> None:
    points = np.arange(20).reshape(2, 5, 2)
    chosen = faces(embeddings=np.eye(2), landmarks=points).select([1])
    assert chosen.landmarks.tolist() == points[1:].tolist()
    assert chosen.embeddings.tolist() == [[0, 1]]
    nobody = chosen.select([])
    assert (nobody.embeddings.shape, nobody.landmarks.shape) == ((0, 2), (0, 5, 2))


@pytest.mark.parametrize(
    "columns",
    [
        {"embeddings": np.ones((3, 4))},
        {"embeddings": np.ones(2)},
        {"embeddings": np.ones((0, 4))},
        {"landmarks": np.ones((2, 5))},
        {"landmarks": np.ones((2, 5, 3))},
        {"landmarks": np.ones((1, 5, 2))},
        {"landmarks": np.ones((0, 5, 2))},
        {"landmarks": np.ones((3, 0, 2))},
    ],
)
def test_columns_of_another_length_are_refused(columns: dict[str, object]) -> None:
    [name] = columns
    with pytest.raises(InvalidValueError, match=rf"Faces\.{name}: shape"):
        faces(**columns)
