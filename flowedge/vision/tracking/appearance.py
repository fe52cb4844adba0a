"""What objects look like: a vector of unit length for each, alike for pictures of one person."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from flowedge.values import Frame, Image

if TYPE_CHECKING:
    from flowedge.inference.engines import Model

Floats = NDArray[np.float64]


class Appearance:
    """Vectors of a re-identification network (such as OSNet, Zhou et al. 2019) for the boxes of a frame."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self.width = int(np.prod(model.output_shape))

    def vectors(self, frame: Frame, boxes: Floats) -> Floats:
        """N x D of unit length for N boxes (xyxy, source pixels); zeros for what lies outside of the frame."""
        inside = np.round(frame.from_source(boxes.astype(np.float32))).astype(int)
        inside = inside.clip(0, [frame.width, frame.height] * 2)
        shown = np.flatnonzero((inside[:, 2:] > inside[:, :2]).all(axis=1))
        vectors = np.zeros((len(boxes), self.width))
        for row, output in zip(shown, self._model.outputs(self._crops(frame, inside[shown])), strict=True):
            vectors[row] = output.ravel()
        return unit(vectors)

    def _crops(self, frame: Frame, boxes: NDArray[np.int_]) -> Iterator[Image]:
        import cv2

        height, width = self._model.input_size
        for x1, y1, x2, y2 in boxes.tolist():
            yield np.asarray(cv2.resize(frame.image[y1:y2, x1:x2], (width, height)), np.uint8)


def unit(vectors: Floats) -> Floats:
    """Rows scaled to unit length; rows of zeros stay.

    >>> unit(np.array([[3.0, 4.0], [0.0, 0.0]]))
    array([[0.6, 0.8],
           [0. , 0. ]])
    """
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12))
