"""One box per object: non-max suppression and non-max merging as array kernels.

Both are greedy: the best box takes every box that overlaps it by at least the threshold, then the best of the
remaining boxes does, and so on. `suppress` keeps the boxes that no other took; `merge` joins each of them with
those that it took. Libraries differ in how they break ties and join a group; a `Rule` says it, and `SAHI` and
`SUPERVISION` are the rules of those two.

Nothing here loops over boxes: `flowedge.vision.overlap` finds the pairs that overlap, and each round of the
greedy choice decides about all boxes at once that no better undecided box overlaps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from flowedge.vision.overlap import Columns, Floats, Integers, Mask, Metric, Rows, matches, ratio

Ties: TypeAlias = Literal["first", "last", "leftmost"]

_FIRST_BLOCK = 1024  # boxes that are compared with each other before their winners clear the rest
_BLOCK_GROWTH = 4
_ROUNDS = 64  # a chain in which each box loses to the one before needs as many rounds as boxes


@dataclass(frozen=True, slots=True)
class Rule:
    """How a merge breaks ties and joins groups. Under every rule a box that overlaps by the threshold is taken.

    `ties`, which of two boxes with equal scores comes first: the "first" given, the "last" given, or the
    "leftmost" (least x1, then y1, x2, y2, then the first given).

    `boxes`, what a group becomes: the "union" of all its boxes; or "grown", the best box joined by one member
    after the other, best first, where a member that does not overlap what has grown so far by the threshold is
    dropped.

    `scores`: the "best" of the group, or the "area" mean: each score weighs as much as its box has pixels.
    """

    ties: Ties = "first"
    boxes: Literal["union", "grown"] = "union"
    scores: Literal["best", "area"] = "best"


SAHI = Rule(ties="leftmost", boxes="grown", scores="best")
"""`GreedyNMMPostprocess` of SAHI 0.12. Where classes may mix, the last member with the best score gives its."""

SUPERVISION = Rule(ties="last", boxes="union", scores="area")
"""`Detections.with_nmm` of supervision 0.31. It computes overlaps in float64: give boxes as float64."""


@dataclass(frozen=True, slots=True, eq=False)
class Merged:
    """M merged boxes (M x 4, xyxy), their scores and classes (M), best first, in the dtypes given.

    `kept`: the M indices of the best box of each group. `owners`: for each of the N boxes given the index of
    the box that took it, its own where it was kept.
    """

    boxes: Floats
    scores: Floats
    classes: Integers
    kept: Rows
    owners: Rows


def suppress(
    boxes: Floats,
    scores: Floats,
    classes: Integers,
    threshold: float,
    metric: Metric = "iou",
    class_aware: bool = True,
    ties: Ties = "first",
) -> Rows:
    """Non-max suppression: the indices of the boxes that are kept, best first.

    `boxes` is N x 4 xyxy; `scores` and `classes` have length N. With `class_aware` only boxes of one class
    compete. A box without area, or with a coordinate that is not finite, overlaps nothing. Overlaps are
    computed in the precision of `boxes`. Raises ValueError unless 0 < `threshold` <= 1.

    >>> boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [1, 0, 11, 10]], np.float32)
    >>> suppress(boxes, np.array([0.8, 0.9, 0.7]), np.array([0, 0, 1]), threshold=0.5)
    array([1, 2])
    """
    owners = group(boxes, scores, classes, threshold, metric, class_aware, ties)
    return _kept(owners, by_rank(boxes, scores, ties))


def group(
    boxes: Floats,
    scores: Floats,
    classes: Integers,
    threshold: float,
    metric: Metric = "iou",
    class_aware: bool = True,
    ties: Ties = "first",
) -> Rows:
    """Greedy groups: for each of N boxes the index of the box that took it, its own where it was kept.

    Arguments as for `suppress`.

    >>> boxes = np.array([[0, 0, 4, 4], [1, 0, 5, 4], [2, 0, 6, 4], [3, 0, 7, 4]], np.float32)
    >>> group(boxes, np.array([0.9, 0.8, 0.7, 0.6]), np.zeros(4, int), threshold=0.5)
    array([0, 0, 2, 2])
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"a threshold above 0 and up to 1 is needed, {threshold} was given")
    order = by_rank(boxes, scores, ties)
    labels = classes[order] if class_aware else np.zeros(len(boxes), np.int64)
    ranked = _greedy(Columns.of(boxes[order], labels), threshold, metric)
    owners = np.empty(len(boxes), np.intp)
    owners[order] = order[ranked]
    return owners


def merge(
    boxes: Floats,
    scores: Floats,
    classes: Integers,
    threshold: float,
    metric: Metric = "iou",
    class_aware: bool = True,
    rule: Rule = Rule(),
) -> Merged:
    """Greedy non-max merging: each group of `group` joined into one box, score and class by `rule`.

    The class is that of the best box. Arguments as for `suppress`.

    >>> boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [50, 0, 60, 10]], np.float32)
    >>> one = merge(boxes, np.array([0.8, 0.9, 0.7]), np.array([0, 0, 0]), threshold=0.5)
    >>> one.boxes.tolist(), one.scores.tolist(), one.owners.tolist()
    ([[0.0, 0.0, 11.0, 10.0], [50.0, 0.0, 60.0, 10.0]], [0.9, 0.7], [1, 1, 2])
    """
    owners = group(boxes, scores, classes, threshold, metric, class_aware, rule.ties)
    order = by_rank(boxes, scores, rule.ties)
    kept = _kept(owners, order)
    joined, new_scores, new_classes = boxes[kept], scores[kept], classes[kept]
    # Members by group, groups in the order of `kept`, best first in each.
    place = np.empty(len(boxes), np.intp)
    place[kept] = np.arange(len(kept))
    members = order[np.argsort(place[owners[order]], kind="stable")]
    sizes = np.bincount(place[owners], minlength=len(kept))
    starts = np.cumsum(sizes) - sizes
    if len(members) > len(kept):
        if rule.boxes == "grown":
            columns = (boxes[members].astype(np.float64), scores[members], classes[members])
            grown, new_classes = _grown(*columns, starts, sizes, threshold, metric)
            joined = grown.astype(boxes.dtype)
        else:
            joined = _union(boxes[members], starts)
        if rule.scores == "area":
            new_scores = _area_mean(boxes[members], scores[members], starts, new_scores)
    return Merged(joined, new_scores, new_classes, kept, owners)


def by_rank(boxes: Floats, scores: Floats, ties: Ties = "first") -> Rows:
    """The order of N boxes, best score first, equal scores as `Rule.ties` says: N indices.

    >>> by_rank(np.zeros((3, 4)), np.array([0.5, 0.9, 0.5]), "last").tolist()
    [1, 2, 0]
    """
    if ties == "last":
        return np.argsort(scores, kind="stable")[::-1]
    order = np.argsort(-scores, kind="stable")
    if ties == "leftmost":
        sorted_scores = scores[order]
        same = sorted_scores[1:] == sorted_scores[:-1]
        if same.any():
            tied = np.flatnonzero(np.r_[same, False] | np.r_[False, same])
            rows = order[tied]
            x1, y1, x2, y2 = boxes[rows].T
            order[tied] = rows[np.lexsort((rows, y2, x2, y1, x1, -scores[rows]))]
    return order


def _kept(owners: Rows, order: Rows) -> Rows:
    """The boxes that own themselves, in the given order."""
    kept: Rows = order[owners[order] == order]
    return kept


# --- joining a group ----------------------------------------------------------------------------------


def _union(members: Floats, starts: Rows) -> Floats:
    """The smallest box around each group; a group's boxes lie together from its start on."""
    low = np.minimum.reduceat(members[:, :2], starts)
    high = np.maximum.reduceat(members[:, 2:], starts)
    return np.concatenate([low, high], axis=1)


def _area_mean(members: Floats, scores: Floats, starts: Rows, best: Floats) -> Floats:
    """The mean score of each group weighed by area, its best one where no member has any."""
    wide = members.astype(np.float64)
    areas = (wide[:, 2] - wide[:, 0]) * (wide[:, 3] - wide[:, 1])
    total = np.add.reduceat(areas, starts)
    weighed = np.add.reduceat(areas * scores, starts)
    return np.divide(weighed, total, out=best.astype(np.float64), where=total > 0).astype(best.dtype)


def _grown(
    members: NDArray[np.float64],
    scores: Floats,
    classes: Integers,
    starts: Rows,
    sizes: Rows,
    threshold: float,
    metric: Metric,
) -> tuple[NDArray[np.float64], Integers]:
    """Boxes and classes of groups that grow by one member a step, all groups at the same time."""
    grown, labels = members[starts].T, classes[starts]
    largest_first = np.argsort(-sizes, kind="stable")
    longer = len(sizes) - np.searchsorted(np.sort(sizes), np.arange(1, sizes.max()), side="right")
    for step, count in enumerate(longer.tolist(), start=1):
        groups = largest_first[:count]
        rows = starts[groups] + step
        mine, added = grown[:, groups], members[rows].T
        fits = ratio(mine, added, metric) >= threshold
        joined = np.concatenate([np.minimum(mine[:2], added[:2]), np.maximum(mine[2:], added[2:])])
        grown[:, groups] = np.where(fits, joined, mine)
        taken = fits & (scores[rows] >= scores[starts[groups]])
        labels[groups] = np.where(taken, classes[rows], labels[groups])
    boxes: NDArray[np.float64] = grown.T
    return boxes, labels


# --- who takes whom -----------------------------------------------------------------------------------


def _greedy(columns: Columns, threshold: float, metric: Metric) -> Rows:
    """For each box, best first, the box that takes it.

    Block by block: the best boxes are settled among each other, and boxes of later blocks that their winners
    take are not compared again, so a pile of boxes costs no more than its winner.
    """
    owners = np.arange(columns.box.shape[1])
    rest, size = columns.rows, _FIRST_BLOCK
    while len(rest):
        block, rest = rest[:size], rest[size:]
        better, worse = matches(columns, block, block, threshold, metric)
        settle(owners, better, worse)
        if len(rest):
            winners = block[owners[block] == block]
            better, worse = matches(columns, winners, rest, threshold, metric)
            np.minimum.at(owners, worse, better)
            rest = rest[owners[rest] == rest]
        size *= _BLOCK_GROWTH
    return owners


def settle(owners: Rows, better: Rows, worse: Rows) -> None:
    """Set the owners of boxes, each its own until now, from all pairs that overlap: better box, worse box.

    Boxes are rows of `owners`, best first: N, changed in place.
    """
    pairs = better, worse
    lost = np.zeros(len(owners), bool)
    for _ in range(_ROUNDS):
        if not len(better):
            break
        beaten = np.zeros(len(owners), bool)
        beaten[worse] = True
        lost[worse[~beaten[better]]] = True
        still_open = ~lost[worse] & ~lost[better]
        better, worse = better[still_open], worse[still_open]
    else:
        _settle_in_turn(lost, better, worse)
    winner = ~lost[pairs[0]]  # of a box's winners the least row, the best box, takes it
    np.minimum.at(owners, pairs[1][winner], pairs[0][winner])


def _settle_in_turn(lost: Mask, better: Rows, worse: Rows) -> None:
    """What `settle` does, pair by pair: quicker for the end of a long chain, where each round settles one."""
    order = np.argsort(better, kind="stable")
    for first, second in zip(better[order].tolist(), worse[order].tolist(), strict=True):
        if not lost[first]:
            lost[second] = True
