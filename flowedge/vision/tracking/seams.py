"""Objects that several tiles of one frame saw: which rows are one object, and its box.

Two tiles can be compared only where both looked. So two boxes are cut to what the tiles have in common, and
agree when the IoU of the cut boxes is high: an object that one tile shows whole and the other in part agrees
with itself, and two objects of which one stands before the other do not. This is non-max merging (SAHI, Akyon
et al. 2022) that knows where the seams are.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from flowedge.vision.overlap import Columns, candidates, ratio

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Indices = NDArray[np.intp]

AGREE = 0.5
"""The least agreement at which rows of two tiles begin to be one object."""

STILL_AGREE = 0.2
"""The least agreement at which they go on being one."""

_NEAR = 0.015  # of a tile's side: a box that ends so near the tile's edge is cut by it


@dataclass(frozen=True)
class Rows:
    """Tracks of all tiles of a frame, N rows, sorted by tile.

    `boxes` N x 4 xyxy in source pixels, `tiles` and `local` the tile and the identity in it, `regions` N x 4
    what the row's tile shows, `inner` N x 4 which sides of that lie inside the frame.
    """

    boxes: Floats
    scores: Floats
    classes: Ints
    tiles: Ints
    local: Ints
    regions: Floats
    inner: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.boxes)

    @cached_property
    def margins(self) -> Floats:
        """N x 4: how near to each side of its tile a box must end to be cut by it, in pixels."""
        sides = self.regions[:, 2:] - self.regions[:, :2]
        return np.asarray(np.maximum(2.0, _NEAR * np.hstack([sides, sides])))

    @cached_property
    def cut(self) -> NDArray[np.bool_]:
        """N x 4: which sides of the box are where the tile ends, not where the object does."""
        inward = self.regions + self.margins * (1, 1, -1, -1)
        low, high = self.boxes[:, :2] <= inward[:, :2], self.boxes[:, 2:] >= inward[:, 2:]
        return np.asarray(self.inner & np.hstack([low, high]))


def joined(rows: Rows, known: Ints) -> Ints:
    """Group rows into objects: the number 0..K-1 of each row's object, which two rows of a tile never share.

    `known` is the identity that each row had so far, 0 for none.

    >>> sides = np.array([[0.0, 0, 60, 50], [40, 0, 100, 50]])
    >>> inner = np.array([[False, False, True, False], [True, False, False, False]])
    >>> boxes = np.array([[30.0, 5, 60, 40], [41, 6, 80, 40]])
    >>> one = np.ones(2, np.int64)
    >>> joined(Rows(boxes, np.ones(2), one, np.arange(2), one, sides, inner), 0 * one)
    array([0, 0])
    """
    labels = np.arange(len(rows))
    first, second = _pairs(rows, known)
    for _ in range(len(first)):  # as often as an object spans tiles, which is once or twice
        before = labels.copy()
        np.minimum.at(labels, first, labels[second])
        if (before == labels).all():
            break
    labels = _apart_in_a_tile(rows, labels)
    return np.asarray(np.unique(labels, return_inverse=True)[1], np.int64)


@dataclass(frozen=True)
class Sightings:
    """K objects seen in one frame, with the number 0..K-1 of each row's object in `labels` (N).

    `boxes` K x 4; `whole` K x 2, whether that is all of the object in x and in y; `views` K x 4, the rectangle
    in which it was seen.
    """

    labels: Ints
    boxes: Floats
    scores: Floats
    classes: Ints
    whole: NDArray[np.bool_]
    views: Floats

    def __len__(self) -> int:
        return len(self.boxes)


def merged(rows: Rows, labels: Ints) -> Sightings:
    """The objects that `joined` found: the best score, and the mean box, by score, of those who saw it whole.

    Of an object that no tile saw whole, the box is the one around its parts.
    """
    count = int(labels.max(initial=-1)) + 1
    cut = rows.cut
    whole_row = ~cut.any(axis=1)
    weights = np.where(whole_row, np.maximum(rows.scores, 1e-6), 0.0)
    total = np.bincount(labels, weights, count)
    whole = total > 0
    sums = np.zeros((count, 4))
    np.add.at(sums, labels, weights[:, None] * rows.boxes)
    mean = sums / np.where(whole, total, 1.0)[:, None]
    scores, classes = np.zeros(count), np.zeros(count, np.int64)
    np.maximum.at(scores, labels, rows.scores)
    classes[labels] = rows.classes
    boxes = np.where(whole[:, None], mean, _around(rows.boxes, labels, count))
    open_ended = np.zeros((count, 2), bool)
    np.logical_or.at(open_ended, labels, cut[:, :2] | cut[:, 2:])
    sides = whole[:, None] | ~open_ended
    return Sightings(labels, boxes, scores, classes, sides, _around(rows.regions, labels, count))


def _around(boxes: Floats, labels: Ints, count: int) -> Floats:
    """The smallest box around all boxes of each label, count x 4."""
    low, high = np.full((count, 2), np.inf), np.full((count, 2), -np.inf)
    np.minimum.at(low, labels, boxes[:, :2])
    np.maximum.at(high, labels, boxes[:, 2:])
    return np.hstack([low, high])


def _stretched(rows: Rows) -> tuple[Floats, Floats]:
    """Boxes and regions moved over the inner edges a little, so that tiles that only touch share a seam."""
    outward = rows.margins * np.array([-1, -1, 1, 1])
    regions = rows.regions + np.where(rows.inner, outward, 0)
    return np.where(rows.cut, regions, rows.boxes), regions


def _pairs(rows: Rows, known: Ints) -> tuple[Indices, Indices]:
    """Rows of different tiles that are each other's best partner, and good ones; each pair both ways round."""
    first, second, agreement = _agreement(rows)
    related = (known[first] == known[second]) & (known[first] > 0) & (agreement >= STILL_AGREE)
    rank = agreement + related  # who was one object before is the first choice
    tiles, tile = np.unique(rows.tiles, return_inverse=True)
    best = np.zeros((len(rows), len(tiles)))
    np.maximum.at(best, (first, tile[second]), rank)
    np.maximum.at(best, (second, tile[first]), rank)
    mutual = (rank >= best[first, tile[second]]) & (rank >= best[second, tile[first]])
    good = mutual & (related | (agreement >= AGREE))
    first, second = first[good], second[good]
    return np.concatenate([first, second]), np.concatenate([second, first])


def _agreement(rows: Rows) -> tuple[Indices, Indices, Floats]:
    """Pairs of rows of a class and two tiles, and the IoU of their boxes cut to what both tiles show."""
    boxes, regions = _stretched(rows)
    columns, views = Columns.of(boxes, rows.classes), np.ascontiguousarray(regions.T)
    none = np.empty(0, np.intp)
    pairs: list[tuple[Indices, Indices, Floats]] = [(none, none, np.empty(0))]
    for first, second in candidates(columns, columns.rows, columns.rows) if len(columns.rows) else ():
        other = rows.tiles[first] != rows.tiles[second]
        first, second = first[other], second[other]
        view = _common(views[:, first], views[:, second])
        one, two = (_common(columns.box[:, each].astype(np.float64), view) for each in (first, second))
        pairs.append((first, second, np.asarray(ratio(one, two, "iou"), np.float64)))
    firsts, seconds, shares = zip(*pairs, strict=True)
    return np.concatenate(firsts), np.concatenate(seconds), np.concatenate(shares)


def _common(first: Floats, second: Floats) -> Floats:
    """The rectangles that two columns of rectangles (4 x K) share; without an area where they do not meet."""
    low, high = np.maximum(first[:2], second[:2]), np.minimum(first[2:], second[2:])
    return np.concatenate([low, np.maximum(low, high)])


def _apart_in_a_tile(rows: Rows, labels: Ints) -> Ints:
    """Where chains of partners lead two rows of a tile together, the later ones are objects of their own."""
    keys = np.stack([labels, rows.tiles])
    _, firsts = np.unique(keys, axis=1, return_index=True)
    alone = np.ones(len(labels), bool)
    alone[firsts] = False
    return np.where(alone, len(labels) + np.arange(len(labels)), labels)
