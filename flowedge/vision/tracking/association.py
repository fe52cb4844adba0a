"""Which detection is which track: similarities of boxes as matrices, and the best assignment by them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flowedge.vision.overlap import overlaps

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]


def to_centres(boxes: NDArray[np.floating]) -> Floats:
    """Boxes N x 4 (x1, y1, x2, y2) as centres and sizes, N x 4 float64 (cx, cy, w, h).

    >>> to_centres(np.array([[0.0, 0, 10, 4]]))
    array([[ 5.,  2., 10.,  4.]])
    """
    low, high = boxes[:, :2].astype(np.float64), boxes[:, 2:].astype(np.float64)
    return np.hstack([(low + high) / 2, high - low])


def to_corners(centres: Floats) -> Floats:
    """The inverse of `to_centres`."""
    half = centres[:, 2:] / 2
    return np.hstack([centres[:, :2] - half, centres[:, :2] + half])


def resemblance(first: Floats, second: Floats) -> Floats:
    """How well each of N boxes fits each of M, N x M, 0..1: IoU times the root of the overlap in height.

    Two people who pass each other overlap sideways while their heights, a matter of distance from the camera,
    stay apart (height-modulated IoU: Hybrid-SORT, Yang et al. 2024, section 3.2; with a root it is milder).

    >>> resemblance(np.array([[0.0, 0, 2, 4]]), np.array([[0.0, 0, 2, 4], [0, 0, 2, 1]])).round(3)
    array([[1.   , 0.125]])
    """
    top, bottom = first[:, None, 1], first[:, None, 3]
    common = np.minimum(bottom, second[:, 3]) - np.maximum(top, second[:, 1])
    spanned = np.maximum(bottom, second[:, 3]) - np.minimum(top, second[:, 1])
    return np.asarray(overlaps(first, second) * np.sqrt(np.clip(common / np.maximum(spanned, 1e-9), 0.0, 1.0)))


def assign(similarity: Floats, least: float) -> tuple[Rows, Rows]:
    """Pairs of row and column with the greatest sum of similarities, none of them below `least`.

    >>> assign(np.array([[0.9, 0.8], [0.7, 0.1]]), least=0.2)
    (array([0, 1]), array([1, 0]))
    """
    from scipy.optimize import linear_sum_assignment

    good = similarity >= least
    if not good.any():
        return np.empty(0, np.intp), np.empty(0, np.intp)
    rows, columns = linear_sum_assignment(np.where(good, similarity, 0.0), maximize=True)
    kept = good[rows, columns]
    return rows[kept], columns[kept]


def load_solver() -> None:
    """Import what `assign` needs, so that the first frame does not wait for it."""
    import scipy.optimize  # noqa: F401
