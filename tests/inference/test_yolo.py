"""Letterbox geometry, decoding against hand-made outputs, and suppression against a plain reference."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from flowedge.inference.models import ModelError
from flowedge.inference.yolo import COCO_NAMES, GREY, decode_v8, decode_yolox, fit, nms, pad

# --- letterbox ---


def test_wide_picture_is_centred_as_ultralytics_does() -> None:
    box = fit(1920, 1080, 640, 640, centred=True)
    assert (box.new_w, box.new_h, box.pad_x, box.pad_y) == (640, 360, 0, 140)


def test_odd_rest_goes_to_the_right_and_below() -> None:
    box = fit(100, 99, 100, 100, centred=True)
    assert (box.pad_x, box.pad_y) == (0, 0)


def test_yolox_keeps_the_top_left_corner() -> None:
    box = fit(480, 640, 416, 416, centred=False)
    assert (box.new_w, box.new_h, box.pad_x, box.pad_y) == (312, 416, 0, 0)


@given(
    st.integers(1, 4000), st.integers(1, 4000), st.sampled_from([320, 416, 640]), st.sampled_from([416, 640])
)
def test_boxes_return_to_the_source(source_w: int, source_h: int, width: int, height: int) -> None:
    box = fit(source_w, source_h, width, height, centred=True)
    assert 1 <= box.new_w <= width
    assert 1 <= box.new_h <= height
    corners = [box.pad_x, box.pad_y, box.pad_x + box.new_w, box.pad_y + box.new_h]
    whole = box.to_source(np.array([corners], np.float32))
    np.testing.assert_allclose(whole, [[0, 0, source_w, source_h]], rtol=1e-5)


def test_boxes_are_clipped_to_the_source() -> None:
    box = fit(640, 320, 640, 640, centred=True)
    boxes = box.to_source(np.array([[-5, 100, 700, 600]], np.float32))
    assert boxes.tolist() == [[0, 0, 640, 320]]


def test_padding_overwrites_whatever_the_canvas_held() -> None:
    box = fit(4, 2, 6, 8, centred=True)
    canvas = np.full((8, 6, 3), 7, np.uint8)
    image = np.full((box.new_h, box.new_w, 3), 200, np.uint8)
    padded = pad(image, box, canvas)
    assert padded is canvas
    expected = np.full((8, 6, 3), GREY, np.uint8)
    expected[box.pad_y : box.pad_y + box.new_h, box.pad_x : box.pad_x + box.new_w] = 200
    np.testing.assert_array_equal(padded, expected)


def test_a_picture_that_fits_is_not_copied() -> None:
    image = np.zeros((8, 8, 3), np.uint8)
    assert pad(image, fit(16, 16, 8, 8, centred=True)) is image


def test_a_picture_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="wants 4 x 8 x 3"):
        pad(np.zeros((8, 8, 3), np.uint8), fit(16, 8, 8, 8, centred=True))


# --- decoding ---


def test_v8_gives_the_best_class_of_each_box() -> None:
    raw = np.zeros((4 + 3, 21), np.float32)
    raw[:4, 5] = 16, 8, 4, 2
    raw[4:, 5] = 0.2, 0.9, 0.6
    raw[4:, 6] = 0.49, 0.1, 0.1
    boxes, scores, classes = decode_v8(raw, 0.5)
    assert boxes.tolist() == [[14, 7, 18, 9]]
    assert scores.tolist() == pytest.approx([0.9])
    assert classes.tolist() == [1]


def test_yolox_boxes_lie_relative_to_their_cell() -> None:
    raw = np.zeros((21, 5 + 2), np.float32)
    # The second row of strides (16) of a 32 x 32 input has 2 x 2 cells; the last is at column 1, row 1.
    raw[16 + 3] = 0.5, 0.25, np.log(2), 0, 0.8, 0.5, 1.0
    boxes, scores, classes = decode_yolox(raw, 0.5, (32, 32))
    np.testing.assert_allclose(boxes, [[24 - 16, 20 - 8, 24 + 16, 20 + 8]])
    assert scores.tolist() == pytest.approx([0.8])
    assert classes.tolist() == [1]


def test_yolox_score_is_objectness_times_class() -> None:
    raw = np.zeros((21, 5 + 1), np.float32)
    raw[:, 4], raw[:, 5] = 0.6, 0.6
    assert len(decode_yolox(raw, 0.37, (32, 32))[0]) == 0
    assert len(decode_yolox(raw, 0.35, (32, 32))[0]) == 21


def test_yolox_grid_of_an_oblong_input() -> None:
    raw = np.zeros((42, 6), np.float32)
    raw[7, 4:] = 1  # the eighth cell of the first row at stride 8
    assert decode_yolox(raw, 0.5, (32, 64))[0].tolist() == [[52, -4, 60, 4]]


def test_nothing_found_is_empty_and_typed() -> None:
    for boxes, scores, classes in (
        decode_v8(np.zeros((84, 21), np.float32), 0.5),
        decode_yolox(np.zeros((21, 85), np.float32), 0.5, (32, 32)),
    ):
        assert (boxes.shape, scores.shape, classes.shape) == ((0, 4), (0,), (0,))
        assert [str(column.dtype) for column in (boxes, scores, classes)] == ["float32", "float32", "int64"]


def test_v8_decodes_a_full_output_quickly() -> None:
    raw = np.random.default_rng(0).random((84, 8400), np.float32)
    raw[4:, 60:] *= 0.2
    times = []
    for _ in range(20):
        started = time.thread_time()  # which is not that of other programs
        decode_v8(raw, 0.25)
        times.append(time.thread_time() - started)
    # Under 0.3 ms on an idle machine; a copy of the whole output alone would take longer than that.
    assert min(times) < 2e-3


def test_yolox_output_of_another_input_size_is_refused() -> None:
    with pytest.raises(ModelError, match="3549"):
        decode_yolox(np.zeros((3549, 85), np.float32), 0.5, (640, 640))


def test_coco_has_eighty_names() -> None:
    assert len(set(COCO_NAMES)) == 80
    assert (COCO_NAMES[0], COCO_NAMES[23], COCO_NAMES[79]) == ("person", "giraffe", "toothbrush")
    assert all(name == name.strip() for name in COCO_NAMES)


# --- suppression ---


def overlap(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    shared = float(np.prod(np.maximum(sides, 0)))
    return shared / (float(np.prod(a[2:] - a[:2])) + float(np.prod(b[2:] - b[:2])) - shared)


def reference(
    boxes: NDArray[np.float32], scores: NDArray[np.float32], classes: NDArray[np.int64], iou: float
) -> list[int]:
    kept: list[int] = []
    exact = boxes.astype(np.float64)
    for index in sorted(range(len(boxes)), key=lambda index: -scores[index]):
        rivals = [other for other in kept if classes[other] == classes[index]]
        if np.all(exact[index, 2:] > exact[index, :2]) and all(
            overlap(exact[index], exact[other]) <= iou for other in rivals
        ):
            kept.append(index)
    return kept


@st.composite
def candidates(draw: st.DrawFn) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
    """Crowded boxes on a coarse grid (many doubles, ties, negative and empty ones) among few classes."""
    count = draw(st.integers(0, 25))
    corners = draw(hnp.arrays(np.int64, (count, 2), elements=st.integers(-6, 12)))
    sides = draw(hnp.arrays(np.int64, (count, 2), elements=st.integers(0, 12)))
    scores = draw(hnp.arrays(np.int64, count, elements=st.integers(0, 6)))
    classes = draw(hnp.arrays(np.int64, count, elements=st.sampled_from([0, 1, 79])))
    boxes = np.concatenate([corners, corners + sides], axis=1)
    return boxes.astype(np.float32), (scores / 6).astype(np.float32), classes


# No fraction of such small areas equals one of these, so rounding decides nothing.
IOUS = st.sampled_from([0.0, 0.2501234, 0.4501234, 0.7001234])


@settings(max_examples=200, deadline=None)
@given(candidates(), IOUS, st.booleans())
def test_nms_equals_the_reference(
    given_boxes: tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]], iou: float, aware: bool
) -> None:
    boxes, scores, classes = given_boxes
    kept = nms(boxes, scores, classes, iou, class_aware=aware)
    assert kept.tolist() == reference(boxes, scores, classes if aware else np.zeros_like(classes), iou)


def test_nms_on_a_random_crowd() -> None:
    random = np.random.default_rng(1)
    corners = random.uniform(-20, 600, (400, 2))
    boxes = np.concatenate([corners, corners + random.uniform(20, 200, (400, 2))], axis=1).astype(np.float32)
    scores, classes = random.random(400, np.float32), random.integers(0, 5, 400)
    assert nms(boxes, scores, classes, 0.45, limit=400).tolist() == reference(boxes, scores, classes, 0.45)


def test_nms_of_nothing() -> None:
    kept = nms(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64), 0.5)
    assert (kept.shape, str(kept.dtype)) == ((0,), "int64")


def test_nms_keeps_the_best_up_to_the_limit() -> None:
    boxes = np.array([[x, 0, x + 10, 10] for x in range(0, 100, 20)], np.float32)
    scores = np.array([0.1, 0.5, 0.3, 0.9, 0.7], np.float32)
    assert nms(boxes, scores, np.zeros(5, np.int64), 0.5, limit=3).tolist() == [3, 4, 1]


def test_nms_drops_what_is_no_box() -> None:
    boxes = np.array(
        [[5, 5, 5, 9], [0, 0, np.nan, 4], [0, 0, np.inf, 4], [9, 9, 3, 3], [0, 0, 4, 4]], np.float32
    )
    assert nms(boxes, np.full(5, 0.9, np.float32), np.zeros(5, np.int64), 0.5).tolist() == [4]


def test_classes_do_not_compete_across_the_picture_edge() -> None:
    """A box that leaves the picture on the left must not meet the next class's boxes on the right."""
    boxes = np.array([[630, 0, 640, 10], [-10, 0, 0, 10]], np.float32)
    kept = nms(boxes, np.array([0.9, 0.8], np.float32), np.array([0, 1]), 0.1)
    assert kept.tolist() == [0, 1]
