"""Geometry of faces: how a face must be turned, scaled and moved for a network that embeds it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flowedge.values import Rect, scaled

SIDE = 112
"""Pixels of the square picture of a face that embedding networks take."""

TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
"""Where the five landmarks lie in that picture, 5 x 2 pixels, as InsightFace's networks were trained."""


def alignments(landmarks: NDArray[np.float32]) -> NDArray[np.float64]:
    """The N x 2 x 3 matrices that bring N x 5 x 2 landmarks (pixels) nearest to InsightFace's template.

    Each is the similarity (turn, one scale, move; no mirroring) with the least sum of squared distances. With
    points as complex numbers, z those of the face and w those of the template, it is w = a z + b where
    a = sum(conj(z - mean z) (w - mean w)) / sum(|z - mean z|^2) and b = mean w - a mean z: Umeyama (1991),
    equations 40 to 42, for two dimensions.

    >>> twice = (TEMPLATE * 2 + 10)[None].astype(np.float32)
    >>> np.allclose(alignments(twice), [[0.5, 0, -5], [0, 0.5, -5]], atol=1e-5)
    True
    """
    z, w = landmarks[..., 0] + 1j * landmarks[..., 1], TEMPLATE[:, 0] + 1j * TEMPLATE[:, 1]
    middle = z.mean(axis=1, keepdims=True)
    extent = np.maximum((np.abs(z - middle) ** 2).sum(axis=1), 1e-12)
    turn = (np.conj(z - middle) * (w - w.mean())).sum(axis=1) / extent
    move = w.mean() - turn * middle[:, 0]
    rows = [np.stack([turn.real, -turn.imag, move.real], 1), np.stack([turn.imag, turn.real, move.imag], 1)]
    return np.stack(rows, axis=1)


def moved_points(points: NDArray[np.float32], old: Rect, new: Rect) -> NDArray[np.float32]:
    """Points N x P x 2 moved from the coordinates of rectangle `old` to those of `new`."""
    flat = points.reshape(-1, 2)
    return scaled(np.concatenate([flat, flat], axis=1), old, new)[:, :2].reshape(points.shape)
