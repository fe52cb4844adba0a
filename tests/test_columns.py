"""Columns of values: what is refused, by which words, and what is read only."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from flowedge import Detections, Faces, Origin, Tracks
from flowedge.columns import InvalidValueError

NORTH = Origin("north")
BOXES = [[0, 0, 9, 9], [5, 5, 20, 20]]


def faces(**columns: object) -> Faces:
    return Faces(NORTH, BOXES, [0.9, 0.8], [0, 0], ("face",), **columns)  # type: ignore[arg-type]


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


@pytest.mark.parametrize(
    "box",
    [[5, 0, 4, 9], [0, 5, 9, 4], [0, 0, float("nan"), 9], [0, 0, float("inf"), 9]],
    ids=["x", "y", "nan", "inf"],
)
def test_a_box_that_is_none_is_refused_by_its_row(box: list[float]) -> None:
    with pytest.raises(InvalidValueError, match=r"Tracks\.boxes: finite x1, .* was given in row 1$"):
        Tracks(NORTH, [[0, 0, 0, 0], box], [1, 1], [0, 0], ids=[1, 2])  # type: ignore[arg-type]


@pytest.mark.parametrize("score", [-0.01, 1.5, float("nan")])
def test_a_score_out_of_range_is_refused_by_its_row(score: float) -> None:
    with pytest.raises(InvalidValueError, match=rf"Detections\.scores: .* {score:g} was given in row 1$"):
        Detections(NORTH, BOXES, [1, score], [0, 0])  # type: ignore[arg-type]


def test_columns_are_read_only_and_the_arrays_given_are_not_copied() -> None:
    given = np.array(BOXES, np.float32)
    value = faces(embeddings=np.eye(2)).select([1, 0])
    for name in ("boxes", "scores", "classes", "embeddings", "landmarks"):
        assert not getattr(value, name).flags.writeable
    boxes = Detections(NORTH, given, [0.9, 0.8], [0, 0]).boxes  # type: ignore[arg-type]
    assert np.shares_memory(boxes, given)
    assert given.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        boxes[0, 0] = 1


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"plate": ["A", "B"]}, r"attributes\['plate'\]: shape \(1,\) is needed, \(2,\) was given"),
        ({"plate": [None]}, r"attributes\['plate'\]: truth values, integers, float32 or texts are needed"),
        ({"": [1]}, "a name is needed"),
    ],
)
def test_wrong_attributes_are_named(attributes: dict[str, object], reason: str) -> None:
    with pytest.raises(InvalidValueError, match=reason):
        Detections(Origin("north"), [[0, 0, 9, 9]], [0.5], [0], attributes=attributes)


def test_numbers_at_the_edges_of_float32_pass_the_checks():
    boxes = [[-3e38, -1, 3e38, 1], [1e-45, 0, 2e-45, 0], [-9, -8, -9, -8]]
    found = Detections(Origin("north"), boxes, [-0.0, 1, 1e-45], [0, 2, 1], names=("a", "b", "c"))
    assert found.select([2]).boxes.tolist() == [[-9, -8, -9, -8]]


@pytest.mark.parametrize("box", [[0, 0, 1, -1e-45], [float("-inf"), 0, 1, 1], [float("inf")] * 4])
def test_a_wrong_box_among_many_is_named_by_its_row(box):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(InvalidValueError, match="in row 7"):
            Detections(Origin("north"), [[0, 0, 1, 1]] * 7 + [box], [0.5] * 8, [0] * 8)


@pytest.mark.parametrize("wrong", [-1, 3])
def test_a_class_without_a_name(wrong):
    with pytest.raises(InvalidValueError, match="but names has 3 entries"):
        Detections(Origin("north"), [[0, 0, 1, 1]] * 2, [0.5] * 2, [0, wrong], names=("a", "b", "c"))
