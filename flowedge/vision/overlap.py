"""The pairs of boxes that overlap, from a sweep instead of a table of all pairs.

Boxes are swept along x in bands of y, class by class, which is near linear in their number where they are
spread out and needs memory for the pairs that overlap only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Metric: TypeAlias = Literal["iou", "ios"]
"""What two boxes share, over their union ("iou") or over the smaller of them ("ios"): 0..1."""

Floats: TypeAlias = NDArray[np.floating[Any]]
Integers: TypeAlias = NDArray[np.integer[Any]]
Rows: TypeAlias = NDArray[np.intp]
Mask: TypeAlias = NDArray[np.bool_]

_CANDIDATES_AT_ONCE = 1 << 20  # pairs, some 30 MB of columns
_BAND_HEIGHTS = 2.0  # a band of y is so many mean boxes high: half of the boxes lie in one band only
_MOST_BANDS = 1e6  # so that a place in the sweep keeps its digits


def overlaps(first: Floats, second: Floats, metric: Metric = "iou") -> Floats:
    """The overlap of each of N boxes with each of M (both x 4, xyxy): N x M, 0..1, in the boxes' precision.

    0 where both (for "ios": where one) have no area.

    >>> overlaps(np.array([[0.0, 0, 2, 2]]), np.array([[0.0, 0, 2, 2], [1, 0, 3, 2], [5, 5, 6, 6]])).round(2)
    array([[1.  , 0.33, 0.  ]])
    """
    return ratio(first.T[:, :, None], second.T[:, None, :], metric)


def ratio(a: Floats, b: Floats, metric: Metric) -> Floats:
    """The overlap of boxes in the same place of two arrays of columns x1, y1, x2, y2."""
    both, first, second = shared(a, b), area(a), area(b)
    whole = first + second - both if metric == "iou" else np.minimum(first, second)
    share: Floats = np.divide(both, whole, out=np.zeros_like(both), where=whole > 0)
    return share


def shared(a: Floats, b: Floats) -> Floats:
    """The area that boxes in the same place of two arrays of columns have in common."""
    width = np.maximum(np.minimum(a[2], b[2]) - np.maximum(a[0], b[0]), 0)
    both: Floats = width * np.maximum(np.minimum(a[3], b[3]) - np.maximum(a[1], b[1]), 0)
    return both


def area(boxes: Floats) -> Floats:
    """The area of boxes given as columns x1, y1, x2, y2."""
    size: Floats = (boxes[2] - boxes[0]) * (boxes[3] - boxes[1])
    return size


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """N boxes, best first, in columns: `box` is 4 x N (x1, y1, x2, y2), `label` N class numbers from 0."""

    box: Floats
    label: Integers
    rows: Rows  # those that can overlap anything: finite and with an area

    @classmethod
    def of(cls, boxes: Floats, classes: Integers) -> Columns:
        """Columns of boxes given as N x 4 with any class numbers."""
        box = np.ascontiguousarray(boxes.T)
        with np.errstate(over="ignore", invalid="ignore"):
            width, height = box[2] - box[0], box[3] - box[1]
            real = (width > 0) & (height > 0) & np.isfinite(width * height)
        return cls(box, np.unique(classes, return_inverse=True)[1], np.flatnonzero(real))


def matches(columns: Columns, first: Rows, second: Rows, threshold: float, metric: Metric) -> tuple[Rows, Rows]:
    """All pairs that overlap by the threshold, the better box first: `candidates` that do, K and K indices."""
    pairs = []
    for a, b in candidates(columns, first, second):
        share = ratio(columns.box.take(a, axis=1), columns.box.take(b, axis=1), metric)
        hit = np.flatnonzero(share.astype(np.float32, copy=False) >= np.float32(threshold))
        pairs.append((a[hit], b[hit]))
    a, b = (np.concatenate(side) for side in zip(*pairs, strict=True))
    return np.minimum(a, b), np.maximum(a, b)


@dataclass(frozen=True, slots=True)
class _Grid:
    """Where the sweep begins, the height and number of its bands, and their distance along x."""

    left: float
    top: float
    height: float
    bands: float
    span: float

    @classmethod
    def over(cls, box: Floats) -> _Grid:
        """The grid for boxes given as columns."""
        x1, y1, x2, y2 = box.astype(np.float64)
        left, top = float(x1.min()), float(y1.min())
        height = _BAND_HEIGHTS * float((y2 - y1).mean())
        tall, wide = float(y2.max()) - top, float(x2.max()) - left
        height = max(height, tall / _MOST_BANDS)
        return cls(left, top, height, tall // height + 2, wide * 1.001)


@dataclass(frozen=True, slots=True, eq=False)
class _Sweep:
    """Boxes in the order of a sweep: by class, band of y and left edge. A box lies in each band it touches."""

    rows: Rows
    left: NDArray[np.float64]
    right: NDArray[np.float64]
    top: Mask  # whether this is the box's first band

    @classmethod
    def of(cls, columns: Columns, rows: Rows, grid: _Grid) -> _Sweep:
        x1, y1, x2, y2 = columns.box[:, rows].astype(np.float64)
        first = np.floor((y1 - grid.top) / grid.height)
        copies = (np.floor((y2 - grid.top) / grid.height) - first).astype(np.intp) + 1
        where = np.repeat(np.arange(len(rows)), copies)
        nth = np.arange(len(where)) - np.repeat(np.cumsum(copies) - copies, copies)
        line = columns.label[rows][where] * grid.bands + first[where] + nth
        shift = line * grid.span - grid.left
        left = x1[where] + shift
        order = np.argsort(left)
        where = where[order]
        return cls(rows[where], left[order], x2[where] + shift[order], nth[order] == 0)


def candidates(columns: Columns, first: Rows, second: Rows) -> Iterator[tuple[Rows, Rows]]:
    """Pairs of `first` and `second` that may overlap, among them all that do, each once, in pieces.

    The two are indices of boxes: one and the same array, or arrays without a common box; neither is empty.
    """
    own = first is second
    grid = _Grid.over(columns.box[:, first if own else np.concatenate([first, second])])
    a = _Sweep.of(columns, first, grid)
    if own:
        yield from _reached(a, a, np.arange(1, len(a.rows) + 1))
        return
    b = _Sweep.of(columns, second, grid)
    yield from _reached(a, b, np.searchsorted(b.left, a.left, side="left"))
    yield from _reached(b, a, np.searchsorted(a.left, b.left, side="right"))


def _reached(a: _Sweep, b: _Sweep, starts: Rows) -> Iterator[tuple[Rows, Rows]]:
    """Pairs of a box of `a` and the boxes of `b`, from `starts` on, that begin before it ends."""
    counts = np.maximum(np.searchsorted(b.left, a.right, side="right") - starts, 0)
    ends = np.cumsum(counts)
    begin = 0
    while begin < len(counts):
        before = int(ends[begin - 1]) if begin else 0
        end = max(begin + 1, int(np.searchsorted(ends, before + _CANDIDATES_AT_ONCE, side="right")))
        some = counts[begin:end]
        i = np.repeat(np.arange(begin, end), some)
        j = np.arange(before, before + len(i)) + np.repeat(starts[begin:end] - (ends[begin:end] - some), some)
        # Two boxes meet first in the band where the lower one begins: there the pair is counted, once.
        once = a.top[i] | b.top[j]
        i, j = a.rows[i[once]], b.rows[j[once]]
        yield i, j
        begin = end
