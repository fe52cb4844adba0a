"""Evaluate detections and tracks against ground truth, as pure functions over columns.

`flowedge.vision.matching` matches the detected objects of a frame to the true ones. The functions here take
whole sequences; `DetectionTally` and `IdentityTally` take one frame at a time and give the quality so far.

>>> from flowedge import Origin
>>> truth = Tracks(Origin("north"), [[0, 0, 10, 10], [20, 0, 30, 10]], [1, 1], [0, 0], ("car",), ids=[1, 2])
>>> tracks = Tracks(Origin("north"), [[0, 0, 10, 9]], [0.8], [0], ("car",), ids=[7])
>>> quality = detection_quality([tracks], [truth])
>>> round(quality.ap50, 3), quality.precision, quality.recall
(0.505, 1.0, 0.5)
>>> correctly_tracked([tracks], [truth])
0.5
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from flowedge.values import Detections, InvalidValueError, Tracks
from flowedge.vision.matching import BITS, IOU, LEVELS, NOTHING, Classes, FrameMatch, Groups, Ignore

__all__ = [
    "IOU",
    "NOTHING",
    "ClassQuality",
    "Classes",
    "DetectionQuality",
    "DetectionTally",
    "IdentityTally",
    "Ignore",
    "aligned",
    "correctly_tracked",
    "counted",
    "detection_quality",
    "detection_score",
]

_RECALLS = np.linspace(0, 1, 101)
_SCORE_STEPS = 10_000  # to which scores are rounded once a tally has been folded
_FOLD_AT = 1_000_000  # detected objects kept singly, 10 bytes each, before a tally is folded
_JOIN_AT = 1000  # frames kept singly, some 500 bytes each, before their columns are joined

AnyDetections = TypeVar("AnyDetections", bound=Detections)


@dataclass(frozen=True, slots=True, eq=False)
class ClassQuality:
    """One class: `objects` that count, `found` and `correct` at the confidence of the whole.

    `curve` is the precision (float64, 101) at the recalls 0, 0.01, ... 1 and IoU 0.5: for each, the best one
    at this recall or a higher one. `ap50` is its mean, `ap` the mean over all ten levels.
    """

    objects: int
    found: int
    correct: int
    ap50: float
    ap: float
    curve: NDArray[np.float64]

    @property
    def precision(self) -> float:
        """Share of what was found that is true; 0 where nothing was found."""
        return self.correct / self.found if self.found else 0.0

    @property
    def recall(self) -> float:
        """Share of the objects that were found; 0 where there are none."""
        return self.correct / self.objects if self.objects else 0.0

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        return 2 * self.correct / total if (total := self.found + self.objects) else 0.0


@dataclass(frozen=True, slots=True, eq=False)
class DetectionQuality:
    """Quality of detection over `frames`.

    `ap50` and `ap` are means over the classes that have objects, and NaN where none has; `precision`, `recall`,
    `f1` and `score` count all classes together, at IoU 0.5, what was found with at least `confidence`.
    `score` is ROMA's (see `detection_score`).
    """

    frames: int
    confidence: float
    ap50: float
    ap: float
    precision: float
    recall: float
    f1: float
    score: float
    classes: Mapping[str, ClassQuality]


def detection_quality(
    detections: Sequence[Detections],
    truth: Sequence[Detections],
    classes: Classes | None = None,
    ignore: Ignore = NOTHING,
    confidence: float = 0.25,
) -> DetectionQuality:
    """AP50, AP, precision, recall and F1 of detections.

    `detections` and `truth` are the same frames in the same order, as `aligned` gives them. AP is COCO's: the
    mean precision at 101 recalls, over all scores that were given, with no limit to the objects of a frame; so
    detect with a confidence near 0 for it. Precision, recall and F1 are at IoU 0.5 and `confidence`.

    Without `classes` each name in the truth is a class of its own; detections of other names are left out.

    Raises `InvalidValueError` for sequences that do not pair up and `ConfigError` where detected and true
    objects have no class in common.
    """
    tally = DetectionTally(classes, ignore, confidence)
    for pair in _pairs(detections, truth):
        tally.add(*pair)
    return tally.quality()


def detection_score(
    detections: Sequence[Detections],
    truth: Sequence[Detections],
    classes: Classes | None = None,
    ignore: Ignore = NOTHING,
    confidence: float = 0.25,
) -> float:
    """ROMA's detection score, equation 9 of the paper, 0..1.

        score = sum over f in FRAME of  w_f TP_f / GT_f

    FRAME are the processed frames, TP_f the true positives of frame f at IoU 0.5 and GT_f its true objects. The
    paper does not give the weights w_f, only their reason: "the number of objects differ in various video
    frames". Here w_f is a frame's share of all objects, w_f = GT_f / sum of GT, so that each object weighs the
    same and frames without objects need no rule of their own. Frames that were not processed (left out of both
    sequences) do not count, as in the paper.
    """
    return detection_quality(detections, truth, classes, ignore, confidence).score


def correctly_tracked(
    tracks: Sequence[Tracks],
    truth: Sequence[Tracks],
    classes: Classes | None = None,
    ignore: Ignore = NOTHING,
) -> float:
    """The share of objects correctly tracked, 0..1: our reading of CARE's "percentage of correctly tracked
    objects" (Table I), which the paper does not define.

    Every true object owns at most one identity of the tracker and every identity belongs to at most one
    object: the assignment that makes most boxes right over the whole sequence. An object is correctly tracked
    in a frame if the track with its identity overlaps it there by IoU >= 0.5 and is of its class. The result
    is the share of all true boxes of all frames for which this holds: a missed object counts against it, and
    so does every frame in which an object carries another identity than its own. Tracks of no true object do
    not.

    This is identity recall (IDR; Ristani et al., "Performance Measures and a Data Set for Multi-Target,
    Multi-Camera Tracking", 2016). It is 0 where there are no objects.
    """
    tally = IdentityTally(classes, ignore)
    for pair in _pairs(tracks, truth):
        tally.add(*pair)
    return tally.correctly_tracked()


def aligned(results: Iterable[AnyDetections], truth: Sequence[Detections]) -> list[AnyDetections]:
    """The results for each frame of the truth, in its order; without objects for a frame that `results` lack.

    >>> from flowedge import Origin
    >>> truth = [Detections(Origin("north", index=i), [], [], []) for i in range(2)]
    >>> late = Detections(Origin("north", index=1), [[0, 0, 9, 9]], [1], [0])
    >>> [len(frame) for frame in aligned([late], truth)]
    [0, 1]
    """
    by_key = {frame.origin.key: frame for frame in results}
    example = next(iter(by_key.values()), None)
    kind, names = (type(example), example.names) if example is not None else (Tracks, ())
    return [
        by_key[frame.origin.key] if frame.origin.key in by_key else kind(frame.origin, [], [], [], names)  # type: ignore[misc]
        for frame in truth
    ]


def counted(
    tracks: Tracks, truth: Tracks, classes: Classes | None = None, ignore: Ignore = NOTHING
) -> tuple[Tracks, Tracks]:
    """One frame without what is ignored and with evaluated classes only, for evaluators that know neither.

    Both results have the evaluated classes' names.
    """
    frame = FrameMatch(Groups(classes), tracks, truth, ignore)
    names = tuple(frame.groups.names)
    _, skipped = frame.matches()
    kept = (skipped & 1) == 0
    true = ~frame.ignored
    return (
        _renamed(tracks.select(frame.found_rows[kept]), frame.found_groups[kept], names),
        _renamed(truth.select(frame.true_rows[true]), frame.true_groups[true], names),
    )


class DetectionTally:
    """Quality of detection frame by frame; arguments and results are those of `detection_quality`.

    It keeps 10 bytes for each detected object and half a megabyte for the latest frames. After a million
    objects, their scores are rounded to 0.0001 and memory grows no more (10 MB, and 1.6 MB a class), with AP
    within some 0.0001 of the exact one.
    """

    def __init__(
        self, classes: Classes | None = None, ignore: Ignore = NOTHING, confidence: float = 0.25
    ) -> None:
        self.frames = 0
        self._groups = Groups(classes)
        self._ignore = ignore
        self._confidence = confidence
        self._objects: Counter[int] = Counter()
        self._chunks: list[_Chunk] = []
        self._kept = 0
        self._folded: dict[int, NDArray[np.int64]] = {}

    def add(self, detections: Detections, truth: Detections) -> None:
        """Count one frame."""
        frame = FrameMatch(self._groups, detections, truth, self._ignore)
        hits, skipped = frame.matches()
        self.frames += 1
        self._objects.update(frame.true_groups[~frame.ignored].tolist())
        if not len(hits):
            return
        self._chunks.append(
            _Chunk(frame.found_groups.astype(np.int16), detections.scores[frame.found_rows], hits, skipped)
        )
        self._kept += len(hits)
        if self._kept > _FOLD_AT:
            self._fold()
        elif len(self._chunks) >= _JOIN_AT:
            self._chunks = [_Chunk.joined(self._chunks)]

    def quality(self) -> DetectionQuality:
        """The quality of all frames so far."""
        everything = _Chunk.joined(self._chunks)
        classes = {}
        for group, name in enumerate(self._groups.names):
            rows = everything.of(group)
            if self._objects[group] or len(rows.scores) or group in self._folded:
                classes[name] = self._class_quality(group, rows)
        values = classes.values()
        objects, found, correct = (sum(getattr(c, n) for c in values) for n in ("objects", "found", "correct"))
        whole = ClassQuality(objects, found, correct, 0.0, 0.0, np.empty(0))
        present = [quality for quality in values if quality.objects]
        return DetectionQuality(
            frames=self.frames,
            confidence=self._confidence,
            ap50=float(np.mean([quality.ap50 for quality in present])) if present else float("nan"),
            ap=float(np.mean([quality.ap for quality in present])) if present else float("nan"),
            precision=whole.precision,
            recall=whole.recall,
            f1=whole.f1,
            score=whole.recall,  # what equation 9 comes to with weights in proportion to GT_f
            classes=classes,
        )

    def _class_quality(self, group: int, rows: _Chunk) -> ClassQuality:
        scores, right, wrong = rows.counts()
        if group in self._folded:
            table = self._folded[group]
            scores = np.concatenate([scores, np.arange(len(table)) / _SCORE_STEPS])
            right, wrong = np.concatenate([right, table[..., 0]]), np.concatenate([wrong, table[..., 1]])
        sure = scores >= self._confidence
        correct, false = int(right[sure, 0].sum()), int(wrong[sure, 0].sum())
        objects = self._objects[group]
        curves = _curves(scores, right, wrong, objects)
        means = curves.mean(axis=1) if objects else np.full(len(LEVELS), np.nan)
        return ClassQuality(objects, correct + false, correct, float(means[0]), float(means.mean()), curves[0])

    def _fold(self) -> None:
        everything = _Chunk.joined(self._chunks)
        for group in np.unique(everything.groups).tolist():
            scores, right, wrong = everything.of(group).counts()
            table = self._folded.setdefault(group, np.zeros((_SCORE_STEPS + 1, len(LEVELS), 2), np.int64))
            steps = np.rint(scores * _SCORE_STEPS).astype(np.intp)
            np.add.at(table, steps, np.stack([right, wrong], axis=2))
        self._chunks, self._kept = [], 0


class IdentityTally:
    """`correctly_tracked` frame by frame. Memory grows with the identities seen, not with the frames."""

    def __init__(self, classes: Classes | None = None, ignore: Ignore = NOTHING) -> None:
        self._groups = Groups(classes)
        self._ignore = ignore
        self._boxes = 0
        self._together: dict[str, Counter[tuple[int, int]]] = {}

    def add(self, tracks: Tracks, truth: Tracks) -> None:
        """Count one frame. Identities of different cameras are different ones."""
        frame = FrameMatch(self._groups, tracks, truth, self._ignore)
        self._boxes += int((~frame.ignored).sum())
        at, true = np.nonzero((frame.overlap >= IOU) & ~frame.ignored)
        own = truth.ids[frame.true_rows[true]].tolist()
        theirs = tracks.ids[frame.found_rows[at]].tolist()
        together = self._together.setdefault(truth.origin.camera, Counter())
        together.update(zip(own, theirs, strict=True))

    def correctly_tracked(self) -> float:
        """The share of true boxes so far that carry the identity of their object, 0..1."""
        right = sum(_best_assignment(together) for together in self._together.values())
        return right / self._boxes if self._boxes else 0.0


@dataclass(frozen=True, slots=True, eq=False)
class _Chunk:
    """Detected objects in columns: their class, score, and the levels (one bit each) at which they hit a true
    object or are skipped for matching something ignored."""

    groups: NDArray[np.int16]
    scores: NDArray[np.float32]
    hits: NDArray[np.uint16]
    skipped: NDArray[np.uint16]

    @classmethod
    def joined(cls, chunks: Sequence[_Chunk]) -> _Chunk:
        chunks = [_NO_CHUNK, *chunks]
        names = ("groups", "scores", "hits", "skipped")
        return cls(*(np.concatenate([getattr(chunk, name) for chunk in chunks]) for name in names))

    def of(self, group: int) -> _Chunk:
        rows = self.groups == group
        return _Chunk(self.groups[rows], self.scores[rows], self.hits[rows], self.skipped[rows])

    def counts(self) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
        """Scores (N) and, at each level (N x 10), how many are right and how many wrong: 1 or 0."""
        right = (self.hits[:, None] & BITS) > 0
        wrong = ~right & ((self.skipped[:, None] & BITS) == 0)
        return self.scores.astype(np.float64), right.astype(np.int64), wrong.astype(np.int64)


_NO_CHUNK = _Chunk(
    np.empty(0, np.int16), np.empty(0, np.float32), np.empty(0, np.uint16), np.empty(0, np.uint16)
)


def _curves(
    scores: NDArray[np.float64], right: NDArray[np.int64], wrong: NDArray[np.int64], objects: int
) -> NDArray[np.float64]:
    """Precision at 101 recalls for each level, 10 x 101, from counts (N x 10) of right and wrong by score."""
    curves = np.zeros((len(LEVELS), len(_RECALLS)))
    if not objects or not len(scores):
        return curves
    order = np.argsort(-scores, kind="stable")
    hits, misses = np.cumsum(right[order], axis=0), np.cumsum(wrong[order], axis=0)
    precision = hits / np.maximum(hits + misses, 1)
    precision = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
    for level, curve in enumerate(curves):
        place = np.searchsorted(hits[:, level] / objects, _RECALLS)
        reached = place < len(hits)
        curve[reached] = precision[place[reached], level]
    return curves


def _best_assignment(together: Counter[tuple[int, int]]) -> int:
    """The most frames that a one-to-one assignment of identities to objects can make right.

    Objects and identities that never met are in different components, so each problem stays small.
    """
    from scipy.optimize import linear_sum_assignment
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    if not together:
        return 0
    pairs = np.array(list(together), np.int64)
    frames = np.array(list(together.values()), np.int64)
    own, rows = np.unique(pairs[:, 0], return_inverse=True)
    theirs, columns = np.unique(pairs[:, 1], return_inverse=True)
    size = len(own) + len(theirs)
    _, component = connected_components(coo_matrix((frames, (rows, columns + len(own))), (size, size)), False)
    right = 0
    for part in np.unique(component[rows]):
        inside = component[rows] == part
        _, at = np.unique(rows[inside], return_inverse=True)
        _, to = np.unique(columns[inside], return_inverse=True)
        table = np.zeros((at.max() + 1, to.max() + 1), np.int64)
        table[at, to] = frames[inside]
        right += int(table[linear_sum_assignment(table, maximize=True)].sum())
    return right


def _pairs(
    results: Sequence[AnyDetections], truth: Sequence[AnyDetections]
) -> Iterator[tuple[AnyDetections, AnyDetections]]:
    if len(results) != len(truth):
        raise InvalidValueError(
            f"quality: {len(results)} frames were found and {len(truth)} are true; "
            f"`aligned` brings them together"
        )
    for result, true in zip(results, truth, strict=True):
        if result.origin.key != true.origin.key:
            raise InvalidValueError(
                f"quality: found {result.origin.key} stands beside true {true.origin.key}; "
                f"`aligned` brings them together"
            )
        yield result, true


def _renamed(tracks: Tracks, groups: NDArray[np.intp], names: tuple[str, ...]) -> Tracks:
    return Tracks(tracks.origin, tracks.boxes, tracks.scores, groups.astype(np.int32), names, ids=tracks.ids)
