"""Heads told apart by shape, names and values; every one says the same: class 1, score 0.9, box 16 8 48 56."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from flowedge.inference.head import Head
from flowedge.inference.heads import identify, join_outputs
from flowedge.inference.models import ModelError
from flowedge.inference.yolo import BGR_255, RGB_1

SIZE = (64, 64)
CELLS = 64 + 16 + 4
CENTRE = (32, 32, 32, 48)
CORNERS = (16, 8, 48, 56)
PART = 1 / 64

Array = NDArray[np.float32]


def rows(count: int, *numbers: float, fill: float = 0.0) -> Array:
    raw = np.full((count, len(numbers)), fill, np.float32)
    raw[10] = numbers
    return raw


def logits() -> Array:
    raw = rows(CELLS, *CENTRE, -6, 2.2, -6)
    raw[:, 4:] = np.where(raw[:, 4:] == 0, -6, raw[:, 4:])
    return raw


def offsets() -> Array:
    """Cell 10 is at row 1, column 2 of stride 8."""
    return rows(CELLS, 2, 3, np.log(4), np.log(6), 0.95, 0, 0.95, 0)


FRACTIONS = tuple(number * PART for number in CENTRE)
CORNER_FRACTIONS = tuple(number * PART for number in CORNERS)

HEADS = {
    "v8": rows(CELLS, *CENTRE, 0, 0.9, 0).T,
    "v8 with P6": rows(CELLS + 1, *CENTRE, 0, 0.9, 0).T,
    "v8 transposed": rows(CELLS, *CENTRE, 0, 0.9, 0),
    "v8 of one class more than it seems": rows(CELLS, *CENTRE, 0, 0.9),
    "v8 in fractions": rows(CELLS, *FRACTIONS, 0, 0.9, 0).T,
    "v8 in fractions, transposed": rows(CELLS, *FRACTIONS, 0, 0.9, 0),
    "v8 with logits": logits().T,
    "v8 with logits, transposed": logits(),
    "v5": rows(3 * CELLS, *CENTRE, 0.95, 0, 0.95, 0),
    "v5 in fractions": rows(3 * CELLS, *FRACTIONS, 0.95, 0, 0.95, 0),
    "v5 transposed": rows(3 * CELLS, *CENTRE, 0.95, 0, 0.95, 0).T,
    "YOLOX": offsets(),
    "YOLOX decoded": rows(CELLS, *CENTRE, 0.95, 0, 0.95, 0),
    "DeepStream": rows(CELLS, *CORNERS, 0.9, 1),
    "corners, score, label": rows(300, *CORNERS, 0.9, 1),
    "corners, score, label, transposed": rows(300, *CORNERS, 0.9, 1).T,
    "corners, label, score": rows(300, *CORNERS, 1, 0.9),
    "corners in fractions": rows(300, *CORNER_FRACTIONS, 0.9, 1),
    "batch, corners, label, score": rows(20, 0, *CORNERS, 1, 0.9),
    "batch, corners, score, label": rows(20, 0, *CORNERS, 0.9, 1),
    "SSD": rows(100, 0, 1, 0.9, *CORNER_FRACTIONS)[None],
    "RT-DETR": rows(300, *FRACTIONS, 0, 0.9, 0),
    "RT-DETR with logits": rows(300, *FRACTIONS, -6, 2.2, -6, fill=-6).clip([0] * 4 + [-6] * 3),
    "a single row": np.array([*CORNERS, 0.9, 1], np.float32),
}


def told(outputs: Sequence[Array], names: int | None = None, output_names: Sequence[str] = ()) -> Head | None:
    return identify(outputs, output_names or [""] * len(outputs), SIZE, names, 0.25)


def read(outputs: Sequence[Array], names: int | None = None, output_names: Sequence[str] = ()) -> None:
    """Assert that the one object is found."""
    head = told(outputs, names, output_names)
    assert head is not None
    raw = join_outputs(outputs, output_names or [""] * len(outputs), SIZE)
    boxes, scores, classes = head.read(raw, 0.25, SIZE)
    np.testing.assert_allclose(boxes, [CORNERS], atol=1e-3)
    np.testing.assert_allclose(scores, [0.9], atol=0.01)
    assert classes.tolist() == [1]


@pytest.mark.parametrize("kind", HEADS)
def test_a_head_is_told_and_read(kind: str) -> None:
    read([HEADS[kind]])


@pytest.mark.parametrize(("kind", "names"), [("v8", 3), ("v8 transposed", 3), ("YOLOX decoded", 3), ("v5", 3)])
def test_a_head_with_names_is_told_and_read(kind: str, names: int) -> None:
    read([HEADS[kind]], names)


def test_masks_and_key_points_are_left_out() -> None:
    masks = np.concatenate([rows(CELLS, *CENTRE, 0, 0.9, 0), np.full((CELLS, 32), 5, np.float32)], axis=1)
    prototypes = np.zeros((32, 16, 16), np.float32)
    read([masks.T, prototypes])
    read([masks.T, prototypes], names=3)
    pose = np.concatenate([rows(CELLS, *CENTRE, 0, 0.9), np.full((CELLS, 51), 33, np.float32)], axis=1)
    read([pose.T], names=2)


@pytest.mark.parametrize("names", [("boxes", "scores", "labels"), ("", "", "")])
def test_separate_outputs(names: tuple[str, ...]) -> None:
    boxes, scores, labels = rows(20, *CORNERS), rows(20, 0.9)[:, 0], rows(20, 1)[:, 0]
    read([boxes, scores, labels], output_names=names)
    read([boxes, labels, scores], output_names=(names[0], names[2], names[1]))
    count = np.array([11], np.float32)
    read([count, boxes, scores, labels], output_names=("num_dets", *names))


@pytest.mark.parametrize("count", range(1, 7))
def test_separate_outputs_of_any_length(count: int) -> None:
    """Also four: as many scores as a box has corners. Engines take the length of 1 off, as for a batch."""
    boxes = np.tile(np.array(CORNERS, np.float32), (count, 1))
    scores, labels = np.full(count, 0.9, np.float32), np.ones(count, np.float32)
    outputs = [output[0] if count == 1 else output for output in (boxes, scores, labels)]
    raw = join_outputs(outputs, ("boxes", "scores", "labels"), SIZE)
    np.testing.assert_allclose(raw, np.tile(np.array([*CORNERS, 0.9, 1], np.float32), (count, 1)))


@pytest.mark.parametrize("raw", [rows(20, *CORNERS, 0.9), rows(20, *CORNER_FRACTIONS, 0.9)])
def test_corners_and_a_score_are_of_one_class(raw: Array) -> None:
    """A usual form of face detectors."""
    for given in (raw, raw[10]):
        head = told([given], names=1)
        assert head is not None
        boxes, scores, classes = head.read(join_outputs([given], [""], SIZE), 0.25, SIZE)
        np.testing.assert_allclose(boxes, [CORNERS])
        assert (scores.round(2).tolist(), classes.tolist()) == ([pytest.approx(0.9)], [0])


def test_five_columns_that_say_nothing_or_something_else() -> None:
    assert told([rows(20, *CORNERS, 0.1)]) is None
    detr = rows(300, *FRACTIONS, 0.9) + np.float32([0.5, 0.5, 0.1, 0.1, 0.01])
    head = told([detr.clip(0, 1)], names=1)
    assert head is not None
    assert head.name == "RT-DETR"
    with pytest.raises(ModelError, match="20 rows of 5 numbers"):
        told([rows(20, 48, 56, 16, 8, 0.9)])


def test_rows_behind_the_count_are_no_objects() -> None:
    boxes, scores, labels = rows(20, *CORNERS), rows(20, 0.9)[:, 0], rows(20, 1)[:, 0]
    raw = join_outputs([np.array([4.0], np.float32), boxes, scores, labels], ["num", "b", "scores", "l"], SIZE)
    assert raw.shape == (4, 6)


@pytest.mark.parametrize(
    ("raw", "names", "seen"),
    [
        (np.concatenate([HEADS["v8"], np.full((1, CELLS), 1.2, np.float32)]), None, "reach from 0 to 1.2"),
        (np.concatenate([HEADS["v8"], np.full((1, CELLS), 0.7, np.float32)]), None, "100% of its boxes"),
        (np.concatenate([HEADS["v8"], np.full((1, CELLS), 0.7, np.float32)]), 3, r"rotated boxes \(OBB\)"),
        (np.concatenate([HEADS["v8"], np.full((51, CELLS), 33, np.float32)]), None, "key points"),
        (HEADS["v8"], 5, "names 5 classes, but its output scores 3"),
        (rows(300, *CENTRE, 0.9, 1, 0.4), None, "rotated boxes are not supported|no list of objects"),
        (rows(300, 32, 32, 16, 24, 0.9, 1), None, "no list of objects that is known"),
        (np.full((300, 6), np.nan, np.float32), None, "not finite"),
        (np.zeros((255, 8, 8), np.float32), None, "255 x 8 x 8 numbers came out"),
        (np.zeros(1000, np.float32), None, "1000 numbers came out"),
        (np.zeros((300, 4), np.float32), None, "300 x 4 numbers came out"),
    ],
)
def test_what_is_no_known_head_is_refused_in_one_sentence(raw: Array, names: int | None, seen: str) -> None:
    with pytest.raises(ModelError, match=seen) as refused:
        told([raw], names)
    assert "\n" not in str(refused.value)
    assert "export it as a plain detector" in str(refused.value)


def test_tensorflow_is_refused() -> None:
    outputs = [rows(20, *CORNER_FRACTIONS), rows(20, 0.9)[:, 0], rows(20, 1)[:, 0]]
    with pytest.raises(ModelError, match="TensorFlow"):
        told(outputs, output_names=("detection_boxes:0", "detection_scores:0", "detection_classes:0"))


@pytest.mark.parametrize("shape", [(300, 6), (20, 7), (0, 6), (CELLS, 6)])
def test_an_empty_list_tells_nothing_yet(shape: tuple[int, int]) -> None:
    assert told([np.zeros(shape, np.float32)]) is None


def test_a_weak_row_tells_nothing_yet() -> None:
    assert told([rows(300, *CORNERS, 0.1, 1)]) is None


def test_how_pictures_are_fed_follows_the_head() -> None:
    heads = {kind: told([raw]) for kind, raw in HEADS.items()}
    fed = {kind: (head.normalise, head.placement) for kind, head in heads.items() if head}
    assert fed["v8"] == fed["v5"] == fed["DeepStream"] == (RGB_1, "centred")
    assert fed["YOLOX"] == fed["YOLOX decoded"] == (BGR_255, "corner")
    assert fed["RT-DETR"] == (RGB_1, "stretched")
    v6 = rows(CELLS, *CENTRE, 1, 0, 0.9, 0)
    v6[:, 4] = 1
    head = told([v6])
    assert head is not None
    assert (head.normalise, head.placement) == (RGB_1, "centred")


def test_a_stretched_picture_fills_the_input() -> None:
    head = told([HEADS["RT-DETR"]])
    assert head is not None
    place = head.place(1920, 1080, (640, 640))
    np.testing.assert_allclose(
        place.to_source(np.array([[0, 320, 640, 640]], np.float32)), [[0, 540, 1920, 1080]]
    )


@pytest.mark.parametrize(
    ("later", "seen"),
    [
        (rows(CELLS, *CENTRE, 0, 33, 0).T, "a score is 33"),
        (rows(CELLS, 500, 500, 32, 48, 0, 0.9, 0).T, r"a box reaches from \(484, 476\)"),
    ],
)
def test_a_head_that_was_taken_for_another_betrays_itself_later(later: Array, seen: str) -> None:
    head = told([HEADS["v8"]])
    assert head is not None
    with pytest.raises(ModelError, match=seen):
        head.read(later, 0.25, SIZE)
