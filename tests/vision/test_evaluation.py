import contextlib
import io
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowedge import ConfigError, Detections, Origin, Tracks
from flowedge.values import InvalidValueError
from flowedge.vision import evaluation as quality_module
from flowedge.vision.evaluation import (
    DetectionTally,
    IdentityTally,
    Ignore,
    aligned,
    correctly_tracked,
    counted,
    detection_quality,
    detection_score,
)

NAMES = ("person", "car")
Row = tuple[float, float, float, float]


def detections(
    boxes: list[Row], scores: list[float] | None = None, classes: list[int] | None = None, index: int = 0
) -> Detections:
    origin = Origin("north", index=index)
    return Detections(origin, boxes, scores or [1.0] * len(boxes), classes or [0] * len(boxes), NAMES)


def tracks(boxes: list[Row], ids: list[int], index: int = 0, camera: str = "north") -> Tracks:
    ones = [1.0] * len(boxes)
    return Tracks(Origin(camera, index=index), boxes, ones, [0] * len(boxes), NAMES, ids=ids)


def square(place: float, wide: float = 10) -> Row:
    return (place, 0, place + wide, 10)


@st.composite
def scenes(draw: st.DrawFn) -> tuple[list[Detections], list[Detections]]:
    """Some frames with true objects, regions among them, and found objects near them and elsewhere."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    found, truth = [], []
    for index in range(draw(st.integers(1, 4))):
        count, more = draw(st.integers(0, 12)), draw(st.integers(0, 25))
        corners = random.uniform(0, 60, (count, 2))
        boxes = np.concatenate([corners, corners + random.uniform(5, 40, (count, 2))], axis=1)
        classes = random.choice(3, count, p=[0.45, 0.45, 0.1])
        near = boxes[random.integers(0, count, more)] if count else random.uniform(0, 60, (more, 4))
        mine = near + random.normal(0, draw(st.sampled_from([0.5, 3, 10])), (more, 4))
        mine[:, 2:] = np.maximum(mine[:, 2:], mine[:, :2] + 1)
        scores = random.choice([0.1, 0.3, 0.35, 0.5, 0.9], more)
        origin = Origin("north", index=index)
        found.append(Detections(origin, mine, scores, random.integers(0, 2, more), NAMES))
        truth.append(Detections(origin, boxes, np.ones(count), classes, (*NAMES, "region")))
    return found, truth


def by_pycocotools(found: list[Detections], truth: list[Detections]) -> tuple[float, float]:
    """AP50 and AP; a region is a crowd of both classes."""
    pytest.importorskip("pycocotools")
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    labels: list[dict[str, Any]] = []
    rows = []
    for image, (mine, true) in enumerate(zip(found, truth, strict=True), start=1):
        for box, which in zip(true.boxes.astype(float), true.classes.tolist(), strict=True):
            sides = box[2:] - box[:2]
            for category in (0, 1) if which == 2 else (which,):
                labels.append(
                    {"id": len(labels) + 1, "image_id": image, "category_id": category, "area": sides.prod()}
                    | {"bbox": [*box[:2], *sides], "iscrowd": int(which == 2)}
                )
        boxes = mine.boxes.astype(float)
        columns = [
            np.full(len(mine), image),
            boxes[:, :2],
            boxes[:, 2:] - boxes[:, :2],
            mine.scores,
            mine.classes,
        ]
        rows.append(np.column_stack(columns))
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        images = [{"id": number} for number in range(1, len(truth) + 1)]
        coco.dataset = {"images": images, "annotations": labels, "categories": [{"id": 0}, {"id": 1}]}
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(np.concatenate(rows)), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats[1], evaluation.stats[0]


@settings(max_examples=60, deadline=None)
@given(scenes())
def test_average_precision_is_that_of_pycocotools(scene: tuple[list[Detections], list[Detections]]) -> None:
    found, truth = scene
    ours = detection_quality(found, truth, ignore=Ignore(regions=("region",)))
    if not any(len(frame) for frame in found):
        return  # pycocotools cannot load an empty result
    theirs = by_pycocotools(found, truth)
    expected = [np.nan if value == -1 else value for value in theirs]
    np.testing.assert_allclose([ours.ap50, ours.ap], expected, atol=1e-9)


def test_counts_at_the_confidence_and_both_classes_together() -> None:
    truth = detections([square(0), square(20), square(40)], classes=[0, 0, 1])
    found = detections(
        [square(0, 9), square(20, 9), square(40, 9), square(80)], [0.9, 0.2, 0.8, 0.7], [0, 0, 1, 1]
    )
    quality = detection_quality([found], [truth], confidence=0.25)
    assert (quality.precision, quality.recall, quality.f1) == (2 / 3, 2 / 3, pytest.approx(2 / 3))
    assert quality.classes["person"].precision == 1
    assert quality.classes["person"].recall == 0.5
    assert quality.classes["car"].found == 2
    assert detection_quality([found], [truth], confidence=0.1).recall == 1
    assert quality.ap50 == pytest.approx(1.0)  # scores below the confidence count for it


def test_the_worse_of_two_found_for_one_object_is_wrong() -> None:
    found = detections([square(0), square(0.5)], [0.8, 0.9])
    quality = detection_quality([found], [detections([square(0)])])
    assert quality.classes["person"].correct == 1
    assert quality.precision == 0.5
    # At IoU 0.95 the better one, which is 0.905 of it, leaves the object to the other.
    assert quality.classes["person"].ap == pytest.approx((9 * 1 + 0.5) / 10)


def test_names_are_matched_not_numbers() -> None:
    truth = Detections(Origin("north"), [square(0), square(20)], [1, 1], [1, 0], ("van", "car"))
    found = Detections(
        Origin("north"), [square(0), square(20), square(40)], [1] * 3, [5, 3, 0], (*"abc", "van", "e", "car")
    )
    quality = detection_quality([found], [truth])
    assert (quality.precision, quality.recall) == (1, 1)  # what the truth has no name for is left out
    grouped = detection_quality([found], [truth], {"vehicle": ("car", "van")})
    assert list(grouped.classes) == ["vehicle"]
    assert grouped.classes["vehicle"].objects == 2


def test_names_with_nothing_in_common_are_refused() -> None:
    found = Detections(Origin("north"), [], [], [], ("moving",))
    with pytest.raises(
        ConfigError, match=r'called moving, what counts person, car.*classes=\{"person": \("person", "moving"\)'
    ):
        detection_quality([found], [detections([square(0)])])


def test_ignored_objects_count_neither_for_nor_against() -> None:
    hidden = Detections(Origin("north"), [square(0), square(20)], [0.1, 0.9], [0, 0], NAMES)
    found = detections([square(0), square(20), square(40)])
    quality = detection_quality([found], [hidden], ignore=Ignore(visible=0.25))
    assert (quality.classes["person"].objects, quality.precision) == (1, 0.5)


def test_above_the_line_a_true_object_is_no_miss_and_a_found_one_no_mistake() -> None:
    truth = detections([(0, 0, 10, 10), (0, 50, 10, 60)])
    found = detections([(50, 0, 60, 10), (0, 50, 10, 60), (50, 50, 60, 60)])
    quality = detection_quality([found], [truth], ignore=Ignore(above=20))
    assert (quality.recall, quality.precision) == (1, 0.5)


def test_without_a_line_what_reaches_out_of_the_picture_counts() -> None:
    outside = detections([(0, -20, 10, -5)])
    assert detection_quality([outside], [detections([square(0)])]).precision == 0
    assert detection_quality([outside], [outside]).recall == 1


def test_romas_score_weighs_each_object_the_same() -> None:
    truth = [detections([square(20 * i) for i in range(4)]), detections([square(0)], index=1)]
    found = [detections([square(0)]), detections([square(0)], index=1)]
    assert detection_score(found, truth) == pytest.approx((4 / 5) * (1 / 4) + (1 / 5) * (1 / 1))


def test_nothing_found_and_nothing_true() -> None:
    nothing, one = detections([]), detections([square(0)])
    assert detection_quality([nothing], [one]).ap50 == 0
    empty = detection_quality([one], [nothing])
    assert (np.isnan(empty.ap50), empty.precision, empty.recall, empty.f1) == (True, 0, 0, 0)
    assert correctly_tracked([tracks([], [])], [tracks([], [])]) == 0


def test_sequences_that_do_not_pair_up_are_refused() -> None:
    one, later = detections([]), detections([], index=1)
    with pytest.raises(InvalidValueError, match="1 frames were found and 2 are true"):
        detection_quality([one], [one, later])
    with pytest.raises(InvalidValueError, match=r"found \('north', 1\) stands beside true \('north', 0\)"):
        detection_quality([later], [one])


def test_aligned_fills_the_frames_in_which_nothing_was_said() -> None:
    truth = [tracks([], [], index=i) for i in range(3)]
    result = aligned([tracks([square(0)], [4], index=2), tracks([square(0)], [4], index=7)], truth)
    assert [len(frame) for frame in result] == [0, 0, 1]
    assert [frame.origin.index for frame in result] == [0, 1, 2]
    assert all(isinstance(frame, Tracks) for frame in aligned([], truth))


def test_a_tally_that_was_folded_knows_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(3)
    frames = []
    for index in range(30):
        boxes = [square(20.0 * i) for i in range(6)]
        truth = detections(boxes[:4], index=index)
        moved = [square(20 * i + random.uniform(0, 3)) for i in range(6)]
        frames.append((detections(moved, random.uniform(0, 1, 6).round(4).tolist(), index=index), truth))
    exact = DetectionTally()
    for pair in frames:
        exact.add(*pair)
    monkeypatch.setattr(quality_module, "_FOLD_AT", 50)
    folded = DetectionTally()
    for pair in frames:
        folded.add(*pair)
    assert folded._kept < 50
    a, b = exact.quality(), folded.quality()
    assert (a.precision, a.recall) == (b.precision, b.recall)
    np.testing.assert_allclose([a.ap50, a.ap], [b.ap50, b.ap], atol=0.01)
    assert 0.1 < a.ap < a.ap50 < 0.9


@pytest.mark.parametrize("count", [0, 1])
def test_a_tally_keeps_10_bytes_for_each_found_object(count: int) -> None:
    truth = detections([square(0)])
    found = detections([square(0)] * count)
    tally = DetectionTally()
    tally.add(found, truth)
    tracemalloc.start()
    try:
        for _ in range(2000):
            tally.add(found, truth)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < count * (2000 * 10 + 600_000) + 50_000  # up to a thousand frames wait to be joined
    assert (tally.quality().frames, tally.quality().recall) == (2001, count)


def test_an_identity_that_changes_counts_until_or_from_then_on() -> None:
    truth = [tracks([square(0)], [1], index=i) for i in range(10)]
    found = [tracks([square(1)], [5 if i < 7 else 6], index=i) for i in range(10)]
    assert correctly_tracked(found, truth) == pytest.approx(0.7)


def test_two_objects_cannot_own_one_identity() -> None:
    truth = [tracks([square(0), square(50)], [1, 2], index=i) for i in range(10)]
    swapped = [tracks([square(0 if i < 6 else 50)], [5], index=i) for i in range(10)]
    assert correctly_tracked(swapped, truth) == pytest.approx(6 / 20)


def test_the_assignment_is_the_best_one_not_a_greedy_one() -> None:
    # Identity 7 is on object 1 for 5 frames and on object 2 for 4; identity 8 on object 1 for 4.
    places = [(1, 7)] * 5 + [(1, 8)] * 4 + [(2, 7)] * 4
    truth, found = [], []
    for index, (own, theirs) in enumerate(places):
        truth.append(tracks([square(0), square(50)], [1, 2], index))
        found.append(tracks([square(50 * (own - 1))], [theirs], index))
    assert correctly_tracked(found, truth) == pytest.approx(8 / 26)


def test_identities_of_two_cameras_are_different_ones() -> None:
    tally = IdentityTally()
    for camera in ("north", "south"):
        tally.add(tracks([square(0)], [5], camera=camera), tracks([square(0)], [1], camera=camera))
    tally.add(tracks([square(0)], [5], 1, "south"), tracks([square(0)], [2], 1, "south"))
    assert tally.correctly_tracked() == pytest.approx(2 / 3)


def test_counted_leaves_out_what_is_ignored_on_both_sides() -> None:
    truth = Tracks(
        Origin("north"),
        [square(0), square(20), square(40, 30)],
        [0.1, 1, 1],
        [0, 1, 2],
        (*NAMES, "region"),
        ids=[1, 2, 3],
    )
    found = Tracks(
        Origin("north"),
        [square(0), square(20), square(45), square(90)],
        [1] * 4,
        [0, 1, 0, 0],
        NAMES,
        ids=[4, 5, 6, 7],
    )
    mine, true = counted(found, truth, {"any": NAMES}, Ignore(visible=0.25, regions=("region",)))
    assert (sorted(mine.ids.tolist()), true.ids.tolist()) == ([5, 7], [2])
    assert mine.names == true.names == ("any",)
