"""The merge kernels beside SAHI's greedy non-max merging and supervision's, on the same boxes, in one process.

Boxes are people in a crowd as a detector gives them from overlapping tiles: some five to a person, none of them
suppressed yet, on a 4K frame. "groups" is the choice of who takes whom (`batched_greedy_nmm`,
`box_non_max_merge`), "merged" the boxes joined as well, from the library's own objects to its own objects
(`GreedyNMMPostprocess`, `Detections.with_nmm`). Each library is compared at its default metric, by its own
rule, and must give equal groups. Everything runs on one thread: neither library nor ours starts others here.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowedge.vision.nms import SAHI, SUPERVISION, Rule, group, merge
from flowedge.vision.overlap import Metric

SIZES = (100, 1_000, 5_000, 20_000)
PEOPLE = 1, "one class"
STREET = 3, "three classes"
THRESHOLD = 0.5
PATIENCE = 10.0  # seconds for all rounds of one row: slow rows get fewer rounds, at least one

Columns = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int32]]
Row = tuple[str, Callable[[], object], Callable[[], object]]


def measure(rounds: int) -> list[str]:
    """A table: milliseconds of both (medians), the median of the ratios of each pair with its range."""
    from sahi.postprocess.backends import resolve_backend

    lines = [f"SAHI's backend: {resolve_backend()}; times in ms, ratio: median (least-greatest) of the rounds"]
    lines.append(f"{'boxes':>6}  {'':13}  {'against':32}  {'ours':>8}  {'theirs':>9}  ratio")
    for size in SIZES:
        for classes, name in (PEOPLE, STREET):
            columns = crowd(size, classes)
            for against, ours, theirs in (*_sahi(columns), *_supervision(columns)):
                lines.append(f"{size:>6}  {name:13}  {against:32}  {_compared(ours, theirs, rounds)}")
    return lines


def crowd(count: int, classes: int, seed: int = 0) -> Columns:
    """Boxes (count x 4 float32), scores and classes of a crowd on 3840 x 2160 pixels."""
    random = np.random.default_rng(seed)
    people = max(1, count // 5)
    person = random.integers(0, people, count)
    height = random.uniform(30, 120, people)[person]
    size = np.stack([0.4 * height, height], axis=1) * random.normal(1, 0.08, (count, 2))
    centre = random.uniform((0, 0), (3840, 2160), (people, 2))[person] + 0.06 * size * random.normal(
        0, 1, (count, 2)
    )
    boxes = np.concatenate([centre - size / 2, centre + size / 2], axis=1).clip(0, (3840, 2160) * 2)
    scores = random.uniform(0.05, 0.95, count)
    labels = random.integers(0, classes, people)[person]
    return boxes.astype(np.float32), scores.astype(np.float32), labels.astype(np.int32)


def _sahi(columns: Columns) -> Iterable[Row]:
    from sahi.postprocess.combine import GreedyNMMPostprocess, batched_greedy_nmm
    from sahi.prediction import ObjectPrediction

    table = np.column_stack(columns).astype(np.float32)
    _check(_grouped(columns, "ios", SAHI), batched_greedy_nmm(table, "IOS", THRESHOLD).items())
    yield (
        "SAHI, groups",
        lambda: _grouped(columns, "ios", SAHI),
        lambda: batched_greedy_nmm(table, "IOS", THRESHOLD),
    )
    rows = zip(*(column.tolist() for column in columns), strict=True)
    predictions = [
        ObjectPrediction(bbox=box, score=score, category_id=n, category_name=str(n)) for box, score, n in rows
    ]
    yield (
        "SAHI, merged",
        lambda: merge(*columns, THRESHOLD, "ios", rule=SAHI),
        lambda: GreedyNMMPostprocess(THRESHOLD, "IOS", class_agnostic=False)(list(predictions)),
    )


def _supervision(columns: Columns) -> Iterable[Row]:
    from supervision import Detections
    from supervision.detection.utils.iou_and_nms import box_non_max_merge

    boxes, scores, classes = columns
    wide = boxes.astype(np.float64), scores, classes
    table = np.column_stack(wide)
    theirs = box_non_max_merge(table, THRESHOLD)
    _check(_grouped(wide, "iou", SUPERVISION), ((first, others) for first, *others in theirs))
    yield (
        "supervision, groups",
        lambda: _grouped(wide, "iou", SUPERVISION),
        lambda: box_non_max_merge(table, THRESHOLD),
    )
    detections = Detections(boxes, confidence=scores, class_id=classes)
    yield (
        "supervision, merged",
        lambda: merge(*wide, THRESHOLD, "iou", rule=SUPERVISION),
        lambda: detections.with_nmm(THRESHOLD),
    )


def _grouped(columns: Sequence[NDArray[Any]], metric: Metric, rule: Rule) -> NDArray[np.intp]:
    boxes, scores, classes = columns
    return group(boxes, scores, classes, THRESHOLD, metric, ties=rule.ties)


def _check(owners: NDArray[np.intp], groups: Iterable[tuple[int, Sequence[int]]]) -> None:
    """Stop where the groups of a library are not ours."""
    theirs = np.full(len(owners), -1)
    for first, others in groups:
        theirs[[first, *others]] = first
    if not np.array_equal(owners, theirs):
        raise SystemExit(f"{np.count_nonzero(owners != theirs)} of {len(owners)} boxes are grouped otherwise")


def _compared(ours: Callable[[], object], theirs: Callable[[], object], rounds: int) -> str:
    """Both in turn, ours after a first run that warms it up: both medians and the ratio, as text."""
    _seconds(ours)
    begun, pairs = time.perf_counter(), []
    while len(pairs) < rounds and (not pairs or time.perf_counter() - begun < PATIENCE):
        pairs.append((_seconds(ours), _seconds(theirs)))
    mine, other = (1e3 * statistics.median(column) for column in zip(*pairs, strict=True))
    ratios = sorted(second / first for first, second in pairs)
    spread = f"{statistics.median(ratios):.1f}x ({ratios[0]:.1f}-{ratios[-1]:.1f})"
    return f"{mine:8.2f}  {other:9.2f}  {spread}"


def _seconds(call: Callable[[], object]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun
