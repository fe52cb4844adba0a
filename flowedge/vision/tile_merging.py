"""The merge after tiles: one box per object from boxes that were detected in overlapping views of a picture.

The overlap of whole boxes misleads where tiles meet. An object cut by a tile's edge is detected as a piece,
whose overlap with the whole object is small, while two people who stand close overlap much. So boxes of two
views are compared only *where both views looked*: clipped to the rectangle that the two views share, the piece
and the whole agree, and so do the two halves of an object in the strip that their tiles share; neighbours do
not.

The rule:

1. Two boxes of two views show one object if, clipped to what the views share, they overlap by the threshold
   and each is the one of its view that overlaps the other the most. Boxes of one view are never the same:
   the detector, which saw both, has decided that they are two objects.
2. A box is *cut* where it ends at an edge of its view beyond which another view looked.
3. Boxes that are not cut are grouped greedily, best score first, and take the cut boxes that show the same
   object. The group's box is the mean of its boxes that are not cut, weighed by their scores as in weighted
   boxes fusion (Solovyev et al. 2021), its score the best of all its boxes.
4. Cut boxes that nobody took are pieces of objects that no view saw whole: those that show one object are
   joined, from piece to piece, to the smallest box around them, with the best score.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowedge.values import Attributes, Detections, InvalidValueError, Rect
from flowedge.vision.nms import settle
from flowedge.vision.overlap import Columns, Floats, Mask, Metric, Rows, candidates, ratio

EDGE = 1 / 128
"""A box ends at an edge that is nearer than this share of its view's longer side: five pixels of a network's
640, which is how exactly networks place the side of an object that goes on beyond the picture."""


@dataclass(frozen=True, slots=True, eq=False)
class Joined:
    """M objects, best first: boxes (M x 4 float32 xyxy), scores (M float32) and classes (M int32).

    `objects` says for each of the N boxes given which of the M objects it shows.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    classes: NDArray[np.int32]
    objects: Rows


def join(
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
    classes: NDArray[np.int32],
    views: Rows,
    regions: NDArray[np.float64],
    threshold: float = 0.5,
    metric: Metric = "iou",
    class_aware: bool = True,
) -> Joined:
    """One box for each object that several views of a picture show, by the rule of this module.

    `boxes` is N x 4 float32 xyxy in the picture's pixels; `scores` (float32), `classes` (int32) and `views`
    have length N, and `regions[views[n]]` (V x 4 xyxy) is the rectangle that was looked at when box n was
    found. With `class_aware` only boxes of one class show one object; without, an object's class is that of its
    best box, of its best one that is not cut where there is one. A box without area, or with a coordinate that
    is not finite, stays as it is. 0 < `threshold` <= 1.

    Two tiles share x = 80..100. One saw a car up to its edge, the other the rest of it:

    >>> tiles = np.array([[0.0, 0, 100, 100], [80, 0, 180, 100]])
    >>> pieces = np.array([[50, 40, 100, 60], [80, 40, 130, 60]], np.float32)
    >>> scores, classes = np.array([0.75, 0.5], np.float32), np.zeros(2, np.int32)
    >>> car = join(pieces, scores, classes, np.array([0, 1]), tiles)
    >>> car.boxes.tolist(), car.scores.tolist()
    ([[50.0, 40.0, 130.0, 60.0]], [0.75])
    """
    cut = _cut(boxes, regions[views], regions)
    order = np.lexsort((-scores, cut))
    boxes, scores, classes, cut = boxes[order], scores[order], classes[order], cut[order]
    columns = Columns.of(boxes.astype(np.float64), classes if class_aware else np.zeros_like(classes))
    better, worse = _same(columns, views[order], regions, threshold, metric)
    owners = np.arange(len(boxes))
    by_whole = ~cut[better]
    settle(owners, better[by_whole], worse[by_whole])
    free = cut & (owners == np.arange(len(boxes)))
    pieces = free[better] & free[worse]
    _connect(owners, better[pieces], worse[pieces])
    return _joined(boxes, scores, classes, cut, owners, order)


def together(name: str, parts: Sequence[Detections]) -> Detections:
    """All boxes of the parts, one part after the other, as detections of the whole frame."""
    names = common_names(name, parts)
    return Detections(
        replace(parts[0].origin, tile=0, tiles=1),
        np.concatenate([part.boxes for part in parts]),
        np.concatenate([part.scores for part in parts]),
        np.concatenate([part.classes for part in parts]),
        names,
        tuple(region for part in parts for region in part.missing),
        around(parts),
        attributes=common_attributes(name, parts),
    )


def surest_rows(objects: NDArray[np.integer[Any]], scores: NDArray[np.floating[Any]]) -> NDArray[np.intp]:
    """The row of the best score of each object 0..K-1, where row i of N shows object `objects[i]`.

    >>> surest_rows(np.array([0, 1, 0]), np.array([0.5, 0.9, 0.7])).tolist()
    [2, 1]
    """
    order = np.lexsort((-scores, objects))
    return order[np.unique(objects[order], return_index=True)[1]]


def common_attributes(step: str, parts: Sequence[Detections]) -> Attributes:
    """The attributes of all objects, one part after the other; parts without objects need not have them.

    Raises `InvalidValueError`, naming the step, where parts have other attributes or of another type.

    >>> from flowedge import Origin
    >>> cars = [Detections(Origin("north"), [[0, 0, 9, 9]], [1], [0], attributes={"hue": [h]}) for h in (3, 7)]
    >>> common_attributes("NonMaxMerge", cars)["hue"].tolist()
    [3, 7]
    """
    parts = [part for part in parts if len(part)] or parts[:1]
    kinds = [{name: column.dtype.kind for name, column in part.attributes.items()} for part in parts]
    if any(kind != kinds[0] for kind in kinds):
        other = next(kind for kind in kinds if kind != kinds[0])
        raise InvalidValueError(
            f"{step}: the objects of the parts of a frame of camera {parts[0].origin.camera} have different "
            f"attributes, {_shown(tuple(kinds[0]))} and {_shown(tuple(other))}, or of different types"
        )
    return {name: np.concatenate([part.attributes[name] for part in parts]) for name in kinds[0]}


def common_names(step: str, parts: Sequence[Detections]) -> tuple[str, ...]:
    """The class names of all parts; raises `InvalidValueError`, naming the step, where they differ.

    >>> from flowedge import Origin
    >>> common_names("NonMaxMerge", [Detections(Origin("north"), [], [], [], ("person", "car"))])
    ('person', 'car')
    """
    names = {part.names for part in parts}
    if len(names) > 1:
        first, second = sorted(names)[:2]
        raise InvalidValueError(
            f"{step}: the parts of frame {parts[0].origin.index} of camera {parts[0].origin.camera} have "
            f"different class names, {_shown(first)} and {_shown(second)}; let one model look at all of them"
        )
    return parts[0].names


def around(parts: Sequence[Detections]) -> Rect | None:
    """The smallest rectangle around the regions of the parts; None where a part shows the whole frame.

    >>> from flowedge import Origin
    >>> north, halves = Origin("north", width=60, height=40), [(0, 0, 40, 40), (20, 0, 60, 40)]
    >>> around([Detections(north, [], [], [], region=half) for half in halves])
    (0, 0, 60, 40)
    """
    regions = [part.region for part in parts if part.region is not None]
    if len(regions) < len(parts):
        return None
    left, top, right, bottom = zip(*regions, strict=True)
    return min(left), min(top), max(right), max(bottom)


def _cut(boxes: NDArray[np.float32], seen: NDArray[np.float64], regions: NDArray[np.float64]) -> Mask:
    """Which boxes end at an edge of their view that is not an edge of everything that was looked at."""
    if not len(boxes):
        return np.empty(0, bool)
    outer = np.concatenate([regions[:, :2].min(axis=0), regions[:, 2:].max(axis=0)])
    near = EDGE * (seen[:, 2:] - seen[:, :2]).max(axis=1, keepdims=True)
    cut: Mask = ((np.abs(boxes - seen) <= near) & (seen != outer)).any(axis=1)
    return cut


def _same(
    columns: Columns, views: Rows, regions: NDArray[np.float64], threshold: float, metric: Metric
) -> tuple[Rows, Rows]:
    """The pairs of boxes that show one object, the better one first: K and K rows."""
    pairs: list[tuple[Rows, Rows, Floats]] = [(columns.rows[:0], columns.rows[:0], np.empty(0))]
    edges = regions.T
    for a, b in candidates(columns, columns.rows, columns.rows) if len(columns.rows) else ():
        other = views[a] != views[b]
        a, b = a[other], b[other]
        first, second = edges[:, views[a]], edges[:, views[b]]
        shared = np.concatenate([np.maximum(first[:2], second[:2]), np.minimum(first[2:], second[2:])])
        share = ratio(_clipped(columns.box[:, a], shared), _clipped(columns.box[:, b], shared), metric)
        agree = share >= threshold
        pairs.append((a[agree], b[agree], share[agree]))
    a, b, share = (np.concatenate(column) for column in zip(*pairs, strict=True))
    # Of a box's partners in one view the one that overlaps it most, and that only if it says the same.
    best = np.zeros((len(views), len(regions)))
    np.maximum.at(best, (a, views[b]), share)
    np.maximum.at(best, (b, views[a]), share)
    mutual = (share >= best[a, views[b]]) & (share >= best[b, views[a]])
    a, b = a[mutual], b[mutual]
    return np.minimum(a, b), np.maximum(a, b)


def _clipped(box: Floats, to: Floats) -> Floats:
    """Boxes clipped to rectangles, both as columns (4 x K); without an area where they do not meet."""
    low, high = np.maximum(box[:2], to[:2]), np.minimum(box[2:], to[2:])
    return np.concatenate([low, np.maximum(low, high)])


def _connect(owners: Rows, better: Rows, worse: Rows) -> None:
    """Give all rows that pairs connect to the best of them; as many rounds as the longest way has steps."""
    while True:
        before = owners[worse], owners[better]
        np.minimum.at(owners, worse, before[1])
        np.minimum.at(owners, better, before[0])
        if np.array_equal(before[0], owners[worse]) and np.array_equal(before[1], owners[better]):
            return


def _joined(
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
    classes: NDArray[np.int32],
    cut: Mask,
    owners: Rows,
    order: Rows,
) -> Joined:
    """The objects of groups: `owners` names for each row the best row of its group."""
    kept, group = np.unique(owners, return_inverse=True)
    whole = ~cut[kept]
    best = np.zeros(len(kept), scores.dtype)
    np.maximum.at(best, group, scores)
    low = np.full((len(kept), 2), np.inf)
    high = np.full((len(kept), 2), -np.inf)
    np.minimum.at(low, group, boxes[:, :2])
    np.maximum.at(high, group, boxes[:, 2:])
    weights = np.where(cut, 0.0, np.maximum(scores, np.finfo(np.float32).tiny))
    total = np.bincount(group, weights, len(kept))
    sums = np.stack([np.bincount(group, weights * side, len(kept)) for side in boxes.T], axis=1)
    joined = np.concatenate([low, high], axis=1)
    joined[whole] = sums[whole] / total[whole, None]
    alone = np.bincount(group, minlength=len(kept)) == 1
    joined[alone] = boxes[kept[alone]]
    by_score = np.argsort(-best, kind="stable")
    place = np.empty(len(kept), np.intp)
    place[by_score] = np.arange(len(kept))
    shown = np.empty(len(boxes), np.intp)
    shown[order] = place[group]
    return Joined(joined[by_score].astype(np.float32), best[by_score], classes[kept[by_score]], shown)


def _shown(names: tuple[str, ...]) -> str:
    return f"({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})" if names else "none"
