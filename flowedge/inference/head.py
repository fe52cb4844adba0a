"""A head: how one detector's output is read, once it is known what the numbers mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from flowedge.inference.models import ModelError
from flowedge.inference.yolo import (
    RGB_1,
    Candidates,
    Letterbox,
    Normalise,
    corners_of,
    decode_v8,
    decode_yolox,
    fit,
)

Array: TypeAlias = NDArray[np.float32]
Size: TypeAlias = tuple[int, int]
"""Height and width of the network's input in pixels."""

EXPORT = (
    "export it as a plain detector with its class names (`yolo export model=NAME.pt format=onnx` does; "
    "YOLOX: tools/export_onnx.py)"
)
SCORE_SLACK = 0.02  # bfloat16 rounds a probability near 1 by up to 0.004, a product of two by twice that


@dataclass(frozen=True, slots=True)
class Head:
    """How one detector's output is read, and how it wants to be fed.

    `boxes` are "corners", "centres" (centre and size) or "offsets" to a grid cell and begin at column `box`;
    `unit` is "pixels" of the input or "fractions" of it. Scores stand in `classes` columns from `first` on
    (times `objectness`, if it has such a column), or in the column `score` with a number of the class in
    `label`. `flat` heads have one object per column instead of per row.
    """

    name: str
    boxes: Literal["corners", "centres", "offsets"]
    unit: Literal["pixels", "fractions"] = "pixels"
    box: int = 0
    first: int = 0
    classes: int = 0
    objectness: int | None = None
    score: int | None = None
    label: int | None = None
    logits: bool = False
    flat: bool = False
    normalise: Normalise = RGB_1
    placement: Literal["centred", "corner", "stretched"] = "centred"

    def place(self, width: int, height: int, size: Size) -> Letterbox:
        """Where a picture of width x height pixels goes in an input of `size`."""
        if self.placement == "stretched":
            return Letterbox(width, height, size[1], size[0], size[1], size[0], 0, 0)
        return fit(width, height, size[1], size[0], centred=self.placement == "centred")

    def read(self, raw: Array, confidence: float, size: Size) -> Candidates:
        """The objects in an output that score at least `confidence`: xyxy boxes in pixels of the input.

        Raises ModelError where the numbers are no scores from 0 to 1 or their boxes lie beside the picture.
        """
        if self.boxes == "offsets":
            candidates = decode_yolox(raw, confidence, size)
        elif self._is_plain_v8:
            candidates = decode_v8(raw[: 4 + self.classes], confidence)
        else:
            candidates = self._read_rows(raw.T if self.flat else raw, confidence, size)
        self._check(candidates, size)
        boxes, scores, labels = candidates
        return boxes, np.minimum(scores, np.float32(1)), labels

    @property
    def _is_plain_v8(self) -> bool:
        centres_in_pixels = self.boxes == "centres" and self.unit == "pixels"
        return self.flat and centres_in_pixels and self.first == 4 and not self.logits

    def _read_rows(self, rows: Array, confidence: float, size: Size) -> Candidates:
        if self.label is not None and self.score is not None:
            kept = np.flatnonzero(rows[:, self.score] >= confidence)
            rows = rows[kept]
            scores, labels = rows[:, self.score], rows[:, self.label].astype(np.int64)
        else:
            block = rows[:, self.first : self.first + self.classes]
            best = block.max(axis=1, initial=-np.inf)
            if self.logits:
                best = sigmoid(best)
            if self.objectness is not None:
                best = best * rows[:, self.objectness]
            kept = np.flatnonzero(best >= confidence)
            rows, scores, labels = rows[kept], best[kept], block[kept].argmax(axis=1)
        boxes = rows[:, self.box : self.box + 4]
        if self.unit == "fractions":
            boxes = boxes * np.array([size[1], size[0]] * 2, np.float32)
        if self.boxes == "centres":
            boxes = corners_of(boxes[:, :2], boxes[:, 2:])
        return boxes, scores, labels

    def _check(self, candidates: Candidates, size: Size) -> None:
        """Refuse candidates that no correct head gives; cheap enough for each frame."""
        boxes, scores, _ = candidates
        if not len(scores):
            return
        if scores.max() > 1 + SCORE_SLACK:
            raise refused(f"read as {self.name}, a score is {scores.max():.3g}, which must be 0 to 1")
        middles = (boxes[:, :2] + boxes[:, 2:]) / 2
        inside = ((middles >= -0.1 * np.array(size[::-1])) & (middles <= 1.1 * np.array(size[::-1]))).all(
            axis=1
        )
        whole = inside & (boxes[:, 2:] >= boxes[:, :2]).all(axis=1)
        if whole.mean() < 0.5:
            x1, y1, x2, y2 = boxes[~whole][0].round(1).tolist()
            raise refused(
                f"read as {self.name}, a box reaches from ({x1:g}, {y1:g}) to ({x2:g}, {y2:g}) in an input of "
                f"{size[1]} x {size[0]} pixels"
            )


def sigmoid(logits: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-logits.clip(-60, 60))), np.float32)


def refused(seen: str) -> ModelError:
    return ModelError(f"its output is not understood: {seen}; {EXPORT}")
