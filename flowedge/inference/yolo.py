"""Before and after a YOLO network: letterboxing its input, decoding its output, suppressing duplicates.

Pure functions on arrays; nothing here loads a model. `flowedge.inference.heads` chooses the decoding.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from flowedge.inference.models import ModelError

STRIDES = (8, 16, 32)
"""Model pixels per grid cell of the three scales that both families predict on."""

GREY = 114
"""The value both families were trained with around a picture that does not fill the square."""

COCO_NAMES: tuple[str, ...] = tuple(
    """person,bicycle,car,motorcycle,airplane,bus,train,truck,boat,traffic light,fire hydrant,stop sign,
    parking meter,bench,bird,cat,dog,horse,sheep,cow,elephant,bear,zebra,giraffe,backpack,umbrella,handbag,
    tie,suitcase,frisbee,skis,snowboard,sports ball,kite,baseball bat,baseball glove,skateboard,surfboard,
    tennis racket,bottle,wine glass,cup,fork,knife,spoon,bowl,banana,apple,sandwich,orange,broccoli,carrot,
    hot dog,pizza,donut,cake,chair,couch,potted plant,bed,dining table,toilet,tv,laptop,mouse,remote,keyboard,
    cell phone,microwave,oven,toaster,sink,refrigerator,book,clock,vase,scissors,teddy bear,hair drier,
    toothbrush""".replace("\n    ", "").split(",")
)

Candidates = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]
"""Boxes (K x 4 float32, xyxy, model pixels), their scores (K float32, 0..1) and class numbers (K int64)."""


# --- fitting a picture into the model's input ---------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Letterbox:
    """Where a picture lies inside a model's input: scaled by one factor, grey around it.

    Sizes and paddings are whole pixels; ``pad_x`` is the grey to the left, ``pad_y`` the grey above.

    >>> box = fit(1920, 1080, 640, 640, centred=True)
    >>> box.new_w, box.new_h, box.pad_x, box.pad_y
    (640, 360, 0, 140)
    >>> box.to_source(np.array([[320, 320, 640, 500]], np.float32))
    array([[ 960.,  540., 1920., 1080.]], dtype=float32)
    """

    source_w: int
    source_h: int
    width: int
    height: int
    new_w: int
    new_h: int
    pad_x: int
    pad_y: int

    def to_source(self, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Boxes (K x 4, xyxy, model pixels) in pixels of the source picture, clipped to it."""
        # Each axis has its own factor: rounding the scaled size to whole pixels stretches them differently.
        scale = np.array([self.source_w / self.new_w, self.source_h / self.new_h] * 2, np.float32)
        pad = np.array([self.pad_x, self.pad_y] * 2, np.float32)
        most = np.array([self.source_w, self.source_h] * 2, np.float32)
        boxes = (boxes - pad) * scale
        return boxes.clip(0, most)


def fit(source_w: int, source_h: int, width: int, height: int, centred: bool) -> Letterbox:
    """The largest placement of a source_w x source_h picture in width x height, its proportions kept.

    ``centred`` puts the grey on both sides (YOLO v8), otherwise right and below (YOLOX).

    >>> fit(640, 480, 416, 416, centred=False).new_h
    312
    """
    scale = min(width / source_w, height / source_h)
    new_w = max(1, round(source_w * scale))
    new_h = max(1, round(source_h * scale))
    pad_x, pad_y = ((width - new_w) // 2, (height - new_h) // 2) if centred else (0, 0)
    return Letterbox(source_w, source_h, width, height, new_w, new_h, pad_x, pad_y)


def pad(image: NDArray[np.uint8], box: Letterbox, canvas: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
    """The scaled picture (new_h x new_w x 3, uint8) with grey around it: height x width x 3, uint8.

    Writes into ``canvas`` where one is given, so that a stream of pictures needs no new memory. A picture
    that fills the input already is returned as it is, not copied.

    Raises ValueError where the picture has another size than ``box`` planned for it.

    >>> pad(np.zeros((2, 4, 3), np.uint8), fit(4, 2, 4, 4, centred=True))[:, 0, 0]
    array([114,   0,   0, 114], dtype=uint8)
    """
    if image.shape != (box.new_h, box.new_w, 3):
        raise ValueError(f"the letterbox wants {box.new_h} x {box.new_w} x 3 pixels, not {image.shape}")
    if (box.new_w, box.new_h) == (box.width, box.height):
        return image
    if canvas is None:
        canvas = np.empty((box.height, box.width, 3), np.uint8)
    right, bottom = box.pad_x + box.new_w, box.pad_y + box.new_h
    canvas[: box.pad_y] = GREY
    canvas[bottom:] = GREY
    canvas[box.pad_y : bottom, : box.pad_x] = GREY
    canvas[box.pad_y : bottom, right:] = GREY
    canvas[box.pad_y : bottom, box.pad_x : right] = image
    return canvas


# --- reading a network's output -----------------------------------------------------------------------


def decode_v8(raw: NDArray[np.float32], confidence: float) -> Candidates:
    """The boxes in a YOLO v8 output ((4 + classes) x cells) whose best class scores at least ``confidence``.

    >>> raw = np.array([[50, 9], [50, 9], [20, 4], [10, 4], [0.9, 0.1], [0.2, 0.3]], np.float32)
    >>> decode_v8(raw, 0.5)
    (array([[40., 45., 60., 55.]], dtype=float32), array([0.9], dtype=float32), array([0]))
    """
    # Nearly all cells are background: look for the best class among the few columns that are not.
    best = raw[4:].max(axis=0)
    kept = np.flatnonzero(best >= confidence)
    return corners_of(raw[:2, kept].T, raw[2:4, kept].T), best[kept], raw[4:, kept].argmax(axis=0)


def decode_yolox(raw: NDArray[np.float32], confidence: float, size: tuple[int, int]) -> Candidates:
    """The boxes in a YOLOX output (cells x (5 + classes)) whose score is at least ``confidence``.

    The score is objectness times the best class; ``size`` is the model's input, (height, width) in pixels.
    Raises ModelError where the output has not one row per grid cell of that input.

    >>> raw = np.zeros((21, 6), np.float32)
    >>> raw[20] = [0.5, 0.5, 0, 0, 0.8, 0.5]
    >>> decode_yolox(raw, 0.3, (32, 32))
    (array([[ 0.,  0., 32., 32.]], dtype=float32), array([0.4], dtype=float32), array([0]))
    """
    corners, strides = _grid(size)
    if len(raw) != len(strides):
        raise ModelError(
            f"an output of {raw.shape} for a picture of {size[0]} x {size[1]} pixels is no YOLOX's, which "
            f"gives ({len(strides)}, 5 + classes)"
        )
    # A class score is at most 1, so a cell whose objectness is too low cannot pass.
    likely = np.flatnonzero(raw[:, 4] >= confidence)
    rows = raw[likely]
    classes = rows[:, 5:].argmax(axis=1)
    scores = rows[:, 4] * rows[np.arange(len(rows)), 5 + classes]
    passed = scores >= confidence
    kept, rows = likely[passed], rows[passed]
    stride = strides[kept, None]
    centres, sizes = (rows[:, :2] + corners[kept]) * stride, np.exp(rows[:, 2:4]) * stride
    return corners_of(centres, sizes), scores[passed], classes[passed]


def corners_of(centres: NDArray[np.float32], sizes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Boxes (K x 4, xyxy) from K x 2 centres and K x 2 widths and heights."""
    half = sizes / 2
    return np.concatenate([centres - half, centres + half], axis=1)


def cells(size: tuple[int, int], strides: tuple[int, ...] = STRIDES) -> int:
    """How many grid cells an input of (height, width) pixels has over the strides.

    >>> cells((640, 640))
    8400
    """
    return sum((size[0] // stride) * (size[1] // stride) for stride in strides)


@lru_cache(maxsize=16)
def _grid(size: tuple[int, int]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Column and row (cells x 2) and stride (cells) of every grid cell, in the order of the output."""
    corners, strides = [], []
    for stride in STRIDES:
        rows, columns = np.mgrid[: size[0] // stride, : size[1] // stride]
        corners.append(np.stack([columns.ravel(), rows.ravel()], axis=1))
        strides.append(np.full(rows.size, stride))
    return np.concatenate(corners).astype(np.float32), np.concatenate(strides).astype(np.float32)


# --- what a network is fed ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Normalise:
    """What a network wants of its pixels 0..255: ``(pixel * scale - mean) / deviation``, colours in its order.

    >>> IMAGENET.deviation
    (0.229, 0.224, 0.225)
    """

    rgb: bool
    scale: float
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    deviation: tuple[float, float, float] = (1.0, 1.0, 1.0)


IMAGENET = Normalise(True, 1 / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""What networks are fed that began with weights trained on ImageNet."""


RGB_1 = Normalise(rgb=True, scale=1 / 255)
"""What ultralytics' networks (v5, v8, 11), v6, v7 and most others are fed: RGB in 0..1."""

BGR_255 = Normalise(rgb=False, scale=1.0)
"""What YOLOX is fed."""


# --- dropping doubles ---------------------------------------------------------------------------------


def nms(
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
    classes: NDArray[np.int64],
    iou: float,
    class_aware: bool = True,
    limit: int | None = None,
) -> NDArray[np.int64]:
    """Non-maximum suppression: the indices of the boxes to keep, best score first.

    A box is dropped if a better one that was kept overlaps it by more than ``iou`` (intersection over
    union); equal scores keep their order. With ``class_aware`` only boxes of one class compete. A box
    without area, or with a coordinate that is not finite, is dropped. At most ``limit`` are kept, if one
    is given.

    >>> boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [1, 0, 11, 10]], np.float32)
    >>> nms(boxes, np.array([0.8, 0.9, 0.7], np.float32), np.array([0, 0, 1]), iou=0.5)
    array([1, 2])
    """
    import cv2

    sides = boxes[:, 2:] - boxes[:, :2]
    real = np.all(np.isfinite(boxes), axis=1) & np.all(sides > 0, axis=1)
    by_score = np.argsort(-scores, kind="stable")
    order: NDArray[np.int64] = by_score[real[by_score]]
    if len(order) == 0:
        return order
    # Double precision: the offsets below push coordinates to where float32 has no sub-pixels left.
    rects = np.concatenate([boxes[order, :2], sides[order]], axis=1).astype(np.float64)
    if class_aware:
        # Classes are moved so far apart that their boxes cannot overlap. (OpenCV's own NMSBoxesBatched
        # does so too, but lets classes overlap where coordinates are negative, as at a picture's edge.)
        extent = boxes[order].max() - boxes[order].min() + 1.0
        rects[:, :2] += classes[order, None] * np.float64(extent)
    # Ranks instead of scores: OpenCV drops scores of 0, and breaks ties by no rule that we promise.
    ranks = range(len(order), 0, -1)
    kept = cv2.dnn.NMSBoxes(rects.tolist(), list(ranks), 0.0, iou)
    order = order[np.asarray(kept, np.int64)]
    return order[:limit]
