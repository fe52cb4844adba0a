"""Heads: what the numbers in a detector's output mean.

Exporters write objects in many layouts, and several of them have the same shape: a row of six numbers is a box
with a score and a label in one, an offset with an objectness and a class score in another. So the shape, the
class names and the values together choose the head (`identify`). The output for a blank picture often suffices,
since dense heads give a row for every grid cell. An output that fits no head is refused, with what was seen.

====================  ========================  ==========================================================
head                  output for one picture    a row holds
====================  ========================  ==========================================================
YOLO v8, v9, 11, 12   (4 + classes) x cells     centre, size, a score per class; boxes in pixels or in 0..1,
                      or transposed             scores as probabilities or logits; masks, key points behind
YOLO v5, v7           (3 cells) x (5 + c)       centre, size, objectness, a score per class
YOLOX, YOLO v6        cells x (5 + classes)     the same, or offsets to a grid cell (YOLOX as it is)
DeepStream-Yolo       cells x 6                 corners, score, label
YOLO v10, `nms=True`  N x 6                     corners, score, label (or label, score)
one class, e.g. faces N x 5                     corners, score
YOLO v7 `--end2end`   N x 7                     0, corners, label, score
SSD (OpenVINO)        N x 7                     0, label, score, corners in 0..1
RT-DETR               N x (4 + classes)         centre, size in 0..1, a score per class; picture stretched
NMS in the graph      several outputs           boxes N x 4, scores N, labels N, perhaps their count
====================  ========================  ==========================================================

Rotated boxes, undecoded feature maps and TensorFlow's boxes (rows first, labels from 1) are refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Literal

import numpy as np

from flowedge.inference.head import SCORE_SLACK, Array, Head, Size, refused
from flowedge.inference.models import ModelError
from flowedge.inference.yolo import (
    BGR_255,
    RGB_1,
    Normalise,
    cells,
)

SURE = 0.25
"""A score that only an object has: what tells layouts apart where background says nothing."""
_LISTED = (5, 6, 7)  # how many numbers an object has in a list of corners, scores and labels
_LONG_LIST = 100  # objects: an object with masks or key points has fewer numbers


def usual(shape: tuple[int, ...], size: Size) -> Normalise:
    """The normalisation that a first output of this shape suggests, until `identify` has seen its values."""
    return BGR_255 if len(shape) == 2 and shape[0] in _dense(size) else RGB_1


def identify(
    outputs: Sequence[Array], output_names: Sequence[str], size: Size, names: int | None, confidence: float
) -> Head | None:
    """The head that gave these outputs for one picture, or None where the picture says too little to tell.

    `names` is how many classes the model names itself, None if it names none. Where the answer is None, no
    head of this shape has an object in these outputs that scores `confidence`.

    Raises ModelError, which says what was seen, where no head fits.

    >>> rows = np.zeros((300, 6), np.float32)
    >>> rows[0] = 16, 8, 48, 56, 0.9, 1
    >>> identify([rows], ["output0"], (64, 64), None, 0.25).name
    'corners, score, label'
    """
    raw = join_outputs(outputs, output_names, size)
    if not np.isfinite(raw).all():
        raise refused("numbers that are not finite came out")
    threshold = min(SURE, confidence)
    dense = _dense(size)
    masks = _masks(outputs)
    if raw.shape[1] in dense or raw.shape[1] in _anchored(size):
        if raw.shape[1] in dense:
            return _v8(raw, names, masks, flat=True)
        return _turned(_v5(raw.T, names, masks))
    if raw.shape[0] in _anchored(size):
        return _v5(raw, names, masks)
    if raw.shape[0] in dense:
        return _dense_rows(raw, names, masks, threshold)
    if raw.shape[0] in _LISTED and raw.shape[1] >= _LONG_LIST:
        return _turned(_sparse_rows(raw.T, names, size, threshold))
    return _sparse_rows(raw, names, size, threshold)


def join_outputs(outputs: Sequence[Array], output_names: Sequence[str], size: Size) -> Array:
    """The outputs for one picture as one matrix; separate boxes, scores and labels become N x 6.

    Raises ModelError where they are no detector's outputs.
    """
    if len(outputs) == 1:
        raw = outputs[0]
        while raw.ndim > 2 and raw.shape[0] == 1:
            raw = raw[0]
        if raw.ndim == 1 and raw.size in (5, 6, 7):  # one row, whose length of 1 was taken for the batch
            raw = raw[None]
        if raw.ndim != 2:
            raise _unknown_shape(outputs, size)
        return raw
    if _masks(outputs):
        return next(output for output in outputs if output.ndim == 2)
    return _separate(outputs, [name.lower() for name in output_names], size)


def _turned(head: Head | None) -> Head | None:
    """The same head where there is a column per object."""
    return head and replace(head, name=f"{head.name}, transposed", flat=True)


# --- dense heads --------------------------------------------------------------------------------------


def _v8(raw: Array, names: int | None, masks: int, *, flat: bool) -> Head | None:
    """`raw` is C x cells."""
    classes = _class_count(len(raw) - 4, names, masks)
    block = raw[4 : 4 + classes]
    kind = _scores_of(block, named=names is not None)
    unit = _unit(raw[:4])
    if unit is None:
        return None
    name = "YOLO v8" + (" transposed" if not flat else "") + (" with logits" if kind == "logits" else "")
    return Head(name, "centres", unit, first=4, classes=classes, logits=kind == "logits", flat=flat)


def _v5(rows: Array, names: int | None, masks: int) -> Head | None:
    classes = _class_count(rows.shape[1] - 5, names, masks)
    unit = _unit(rows[:, :4].T)
    if unit is None:
        return None
    _scores_of(rows[:, 4 : 5 + classes].T, named=True, logits=False)
    return Head("YOLO v5", "centres", unit, first=5, classes=classes, objectness=4)


def _dense_rows(rows: Array, names: int | None, masks: int, threshold: float) -> Head | None:
    """One row per grid cell: YOLOX as it is or decoded, YOLO v8 transposed, DeepStream-Yolo."""
    columns, highest = rows.shape[1], float(rows[:, :4].max())
    if columns < 5:
        raise refused(f"{len(rows)} rows of {columns} numbers came out, too few for a box and a score")
    labelled = _corners_score_label(rows, names, threshold) if columns == 6 else None
    transposed = partial(_v8, rows.T, names, masks, flat=False)
    if labelled:
        return replace(labelled, name="DeepStream-Yolo")
    if columns == 6 and _nothing_likely(rows, 4, 5, threshold):
        return None
    # Whether as many class scores as the model has names fit behind a box (v8), or behind box and objectness.
    fits_v8, fits_yolox = (names is None or names == columns - before - masks for before in (4, 5))
    if columns == 5 or not fits_yolox:
        return transposed()
    # A size is the logarithm of a number of strides in offsets: at most log(4096 / 8), and often negative.
    offsets = highest < 10 and (rows[:, 2:4].min() < 0 or not _all_fractions(rows, threshold))
    decoded = Head("YOLOX", "centres", first=5, classes=columns - 5, objectness=4)
    if offsets:
        if not rows[:, :4].any():
            return None
        _scores_of(rows[:, 4:].T, named=True, logits=False)
        return replace(decoded, boxes="offsets", normalise=BGR_255, placement="corner")
    unit = _unit(rows[:, :4].T)
    if unit is None:
        return None
    if rows[:, 4:].min() < -SCORE_SLACK or rows[:, 4:].max() > 1 + SCORE_SLACK:
        return transposed()  # which takes logits, and refuses anything else in a sentence
    decoded = replace(decoded, name="YOLOX, decoded", unit=unit, normalise=BGR_255, placement="corner")
    if np.all(rows[:, 4] == 1):  # YOLO v6 fills the place of the objectness, and is fed as v8 is
        return replace(decoded, name="YOLO v6", normalise=RGB_1, placement="centred")
    if not fits_v8 or (names is None and columns == 85):  # COCO's 80 classes behind box and objectness
        return decoded
    if names is None and columns == 84:  # and behind a box alone
        return transposed()
    # YOLOX is trained on class scores only where objects are, so its background has some; v8's is near 0.
    objectness, best = rows[:, 4], rows[:, 5:].max(axis=1)
    if np.median(best) > 0.02:
        return decoded
    sure = np.maximum(objectness, best) >= threshold
    if not sure.any():
        return None
    return decoded if np.mean(np.minimum(objectness, best)[sure] >= threshold) > 0.5 else transposed()


def _dense(size: Size) -> set[int]:
    """How many objects heads without anchors give: strides 8 to 32, to 64 (P6) or from 4 (P2)."""
    usual_cells = cells(size)
    return {usual_cells, usual_cells + cells(size, (64,)), usual_cells + cells(size, (4,))}


def _anchored(size: Size) -> set[int]:
    return {3 * count for count in _dense(size)}


def _class_count(columns: int, names: int | None, masks: int) -> int:
    """How many of these columns are class scores; `masks` of the others are mask coefficients.

    Raises ModelError where there are fewer columns than the model names classes, or one more, as for the angle
    of a rotated box.
    """
    scored = columns - masks
    if names is None and scored > 0:
        return scored
    if names is None or names > scored:
        raise refused(f"the model names {names or 0} classes, but its output scores {max(scored, 0)}")
    if scored - names == 1:
        raise refused(
            f"the model names {names} classes and its output holds one number more, as rotated boxes (OBB) do; "
            f"they are not supported"
        )
    return names


def _scores_of(block: Array, *, named: bool, logits: bool = True) -> Literal["probabilities", "logits"]:
    """Whether class scores (classes x objects) are probabilities or logits; raises ModelError where neither."""
    lowest, highest = float(block.min()), float(block.max())
    if lowest < -SCORE_SLACK or highest > 1 + SCORE_SLACK:
        # Nearly everything is background, whose logits are far below 0.
        if logits and np.mean(block < 0) > 0.9:
            return "logits"
        raise refused(
            f"the numbers where class scores are expected reach from {lowest:.3g} to {highest:.3g}: they look "
            f"like the key points of a pose model, the angle of rotated boxes (OBB) or an undecoded head"
        )
    if not named and (share := (block > SURE).mean(axis=1)).max() > 0.2:
        raise refused(
            f"the model names no classes and {share.max():.0%} of its boxes are of class {share.argmax()}, "
            f"which looks like the angle of rotated boxes (OBB)"
        )
    return "probabilities"


def _unit(boxes: Array) -> Literal["pixels", "fractions"] | None:
    """The unit of boxes (4 x objects); None where all are empty, which says nothing."""
    highest = float(boxes.max(initial=0.0))
    if highest <= 0:
        return None
    return "pixels" if highest > 2 else "fractions"


def _all_fractions(rows: Array, threshold: float) -> bool:
    """Whether every likely object, or any object where none is likely, is a box of some size within 0..1."""
    boxes = rows[rows[:, 4:].max(axis=1) >= threshold, :4]
    if not len(boxes):
        boxes = rows[rows[:, :4].any(axis=1), :4]
    return len(boxes) > 0 and bool((boxes[:, 2:] > 0).all() and boxes.max() <= 1.2 and boxes.min() >= -0.2)


# --- lists of objects ---------------------------------------------------------------------------------


def _sparse_rows(rows: Array, names: int | None, size: Size, threshold: float) -> Head | None:
    """N objects, best first or padded with zeros."""
    columns = rows.shape[1]
    if columns < 5 or len(rows) > 5000:
        raise _unknown_shape([rows], size)
    some = rows[np.any(rows != 0, axis=1)]
    if columns == 7 and (listed := _seven(some, threshold)):
        return listed
    if columns == 5 and (listed := _corners_score(some, names, threshold)):
        return listed
    classes = columns - 4
    detr = names in (None, classes) and len(some) > 0 and _fits_detr(some)
    if columns == 6 or (columns > 6 and not detr):  # behind six there may be masks or key points
        listed = _corners_score_label(some, names, threshold)
        if listed and columns == 7:
            raise refused("corners, a score, a label and an angle came out: rotated boxes are not supported")
        if listed:
            return listed
    if detr:
        logits = bool(some[:, 4:].min() < -SCORE_SLACK)
        return Head("RT-DETR", "centres", "fractions", 0, 4, classes, logits=logits, placement="stretched")
    # Where no column that may be the score reaches the threshold, no reading would give an object.
    places = {5: ((4, None),), 6: ((4, 5), (5, 4)), 7: ((6, 5), (5, 6), (2, 1))}.get(columns, ((4, 5),))
    if not len(some) or some.max() <= 0 or any(_nothing_likely(some, *place, threshold) for place in places):
        return None
    seen = ", ".join(f"{number:.3g}" for number in some[0, :8])
    raise refused(
        f"{len(rows)} rows of {columns} numbers came out, such as ({seen}): no list of objects that is known"
    )


def _corners_score(rows: Array, names: int | None, threshold: float) -> Head | None:
    """The head of rows x1 y1 x2 y2 score of a one-class detector; RT-DETR's 300 rows have other boxes too."""
    likely = rows[rows[:, 4] >= threshold]
    if names not in (None, 1) or not len(likely):
        return None
    if not (_probabilities(rows[:, 4]) and _corner_boxes(rows[:, :4])):
        return None
    return Head("corners, score", "corners", _unit(likely[:, :4].T) or "pixels", first=4, classes=1)


def _corners_score_label(rows: Array, names: int | None, threshold: float) -> Head | None:
    """The head of rows x1 y1 x2 y2 score label (or label score), if likely ones can be read so."""
    for score, label in ((4, 5), (5, 4)) if rows.shape[1] == 6 else ((4, 5),):
        likely = rows[rows[:, score] >= threshold]
        if (
            len(likely)
            and _labels(rows[:, label], names)
            and _probabilities(rows[:, score])
            and _corner_boxes(likely[:, :4])
        ):
            unit = _unit(likely[:, :4].T) or "pixels"
            name = "corners, score, label" if score == 4 else "corners, label, score"
            return Head(name, "corners", unit, score=score, label=label)
    return None


def _seven(rows: Array, threshold: float) -> Head | None:
    """The head of rows of seven numbers, the first of which counts the pictures of a batch."""
    if not len(rows) or not np.isin(rows[:, 0], (0, -1)).all():
        return None
    rows = rows[rows[:, 0] == 0]
    for name, box, score, label in (
        ("batch, corners, label, score", 1, 6, 5),
        ("batch, corners, score, label", 1, 5, 6),
        ("batch, label, score, corners", 3, 2, 1),
    ):
        likely = rows[rows[:, score] >= threshold]
        boxes = likely[:, box : box + 4]
        if (
            len(likely)
            and _labels(rows[:, label], None)
            and _probabilities(rows[:, score])
            and _corner_boxes(boxes)
        ):
            return Head(name, "corners", _unit(boxes.T) or "pixels", box=box, score=score, label=label)
    return None


def _nothing_likely(rows: Array, score: int, label: int | None, threshold: float) -> bool:
    labelled = label is None or _labels(rows[:, label], None)
    return labelled and _probabilities(rows[:, score]) and bool(rows[:, score].max() < threshold)


def _fits_detr(rows: Array) -> bool:
    boxes, scores = rows[:, :4], rows[:, 4:]
    probable = _probabilities(scores) or float(np.mean(scores < 0)) > 0.5
    return probable and bool(boxes.min() >= -0.2 and boxes.max() <= 1.2 and (boxes[:, 2:] >= 0).all())


def _labels(column: Array, names: int | None) -> bool:
    most = 10_000 if names is None else names
    return bool(np.all(column == np.rint(column)) and column.min() >= 0 and column.max() < most)


def _probabilities(column: Array) -> bool:
    return bool(column.min() >= -SCORE_SLACK and column.max() <= 1 + SCORE_SLACK)


def _corner_boxes(boxes: Array) -> bool:
    return bool((boxes[:, 2:] > boxes[:, :2]).all())


def _separate(outputs: Sequence[Array], output_names: Sequence[str], size: Size) -> Array:
    """Boxes, scores and labels from outputs of their own, as rows of corners, score and label."""
    if any("detection_boxes" in name for name in output_names):
        raise refused(
            "TensorFlow's outputs came out (boxes y first, labels from 1 by a list of their own), which are "
            "not supported"
        )
    fours = [place for place, output in enumerate(outputs) if output.shape[-1:] == (4,)]
    # Four objects have four scores and four labels, and one box may have lost its length of 1.
    fours = [place for place in fours if outputs[place].ndim >= 2] or fours
    if len(fours) != 1:
        raise _unknown_shape(outputs, size)
    boxes = outputs[fours[0]].reshape(-1, 4)
    count = len(boxes)
    named = zip(output_names, outputs, strict=True)
    lists = [(name, output.ravel()) for place, (name, output) in enumerate(named) if place != fours[0]]
    columns = [(name, column) for name, column in lists if column.size == count and "num" not in name]
    if count == 1 and len(columns) > 2:
        columns = [
            item
            for item in columns
            if any(word in item[0] for word in ("score", "conf", "cls", "class", "label"))
        ]
    if len(columns) != 2:
        raise _unknown_shape(outputs, size)
    (name_1, column_1), (name_2, _) = columns
    first_is_score = any(word in name_1 for word in ("score", "conf"))
    second_is_score = any(word in name_2 for word in ("score", "conf"))
    if first_is_score == second_is_score:  # the names do not say: labels are whole numbers
        first_is_score = not np.all(column_1 == np.rint(column_1))
    scores, labels = (column for _, column in (columns if first_is_score else columns[::-1]))
    counts = [column for name, column in lists if column.size == 1 and ("num" in name or count > 1)]
    rows = np.column_stack([boxes, scores, labels]).astype(np.float32)
    return rows[: int(counts[0][0])] if counts else rows


def _masks(outputs: Sequence[Array]) -> int:
    """How many mask coefficients each object has: as many as a second output has prototypes (M x h x w)."""
    if len(outputs) == 2 and sorted(output.ndim for output in outputs) == [2, 3]:
        return len(max(outputs, key=lambda output: output.ndim))
    return 0


def _unknown_shape(outputs: Sequence[Array], size: Size) -> ModelError:
    shapes = " and ".join(" x ".join(str(length) for length in output.shape) or "1" for output in outputs)
    return refused(
        f"for a picture of {size[1]} x {size[0]} pixels {shapes} numbers came out, where "
        f"(4 + classes) x {cells(size)} (YOLO v8, 11), {cells(size)} x (5 + classes) (YOLOX), "
        f"{3 * cells(size)} x (5 + classes) (v5) or N x 6 (corners, score, label) is known"
    )
