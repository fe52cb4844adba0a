"""Identities from frame to frame."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from flowedge import Detections, Origin
from flowedge.vision.tracking import Tracker, TrackerSettings, elapsed

FPS = 25


def at(seconds: float, session: int = 0, index: int | None = None) -> Origin:
    """The origin of a camera's frame; each session's own clock begins anew at 0."""
    number = round(seconds * FPS) if index is None else index
    media = seconds if session == 0 else seconds - 100 * session
    return Origin("north", session, number, media, 1e9 + seconds, 0.0, 50 + seconds, 640, 480)


def boxes_at(*centres: tuple[float, float], width: float = 20, height: float = 60) -> list[list[float]]:
    return [[x - width / 2, y - height / 2, x + width / 2, y + height / 2] for x, y in centres]


def found(
    origin: Origin, boxes: list[list[float]], scores: object = None, classes: object = None
) -> Detections:
    count = len(boxes)
    return Detections(origin, boxes, scores or [0.9] * count, classes or [0] * count, ("person", "car"))


def walk(tracker: Tracker, moments: list[float], speed: float = 50.0, start: float = 100.0) -> list[list[int]]:
    """Identities that one walker gets at these moments."""
    return [
        tracker.update(found(at(moment), boxes_at((start + speed * moment, 200)))).ids.tolist()
        for moment in moments
    ]


def frames(first: float, last: float, fps: float = FPS) -> list[float]:
    return np.arange(first, last, 1 / fps).tolist()


def test_a_walker_keeps_one_identity_at_any_frame_rate() -> None:
    for fps in (4, 7, 30, 60):
        assert walk(Tracker(), frames(0, 3, fps)) == [[1]] * len(frames(0, 3, fps))


def test_two_who_pass_each_other_keep_their_own() -> None:
    tracker = Tracker()
    for moment in frames(0, 4):
        left, right = 100 + 60 * moment, 340 - 60 * moment
        tracks = tracker.update(found(at(moment), boxes_at((left, 200), (right, 215))))
    assert dict(zip(tracks.ids.tolist(), tracks.boxes[:, 0].round(), strict=True)) == {
        1: pytest.approx(left - 10, abs=2),
        2: pytest.approx(right - 10, abs=2),
    }


def test_a_gap_of_dropped_frames_is_bridged_by_its_length_in_seconds() -> None:
    assert walk(Tracker(), [*frames(0, 1), *frames(2.4, 3)])[-1] == [1]


def test_a_walker_hidden_for_less_than_the_patience_comes_back_as_the_same() -> None:
    for hidden, identity in ((1.0, 1), (3.0, 2)):
        tracker = Tracker(TrackerSettings(patience=2.0))
        walk(tracker, frames(0, 1))
        for moment in frames(1, 1 + hidden):
            assert len(tracker.update(found(at(moment), []))) == 0
        assert walk(tracker, frames(1 + hidden, 1.5 + hidden))[-1] == [identity]


def test_identities_survive_a_reconnect() -> None:
    tracker = Tracker()
    walk(tracker, frames(0, 1))
    for moment in frames(3, 3.5):
        origin = at(moment, session=1)
        tracks = tracker.update(found(origin, boxes_at((100 + 50 * moment, 200))))
    assert tracks.ids.tolist() == [1]


def test_after_a_long_time_without_frames_everybody_is_new() -> None:
    tracker = Tracker()
    walk(tracker, frames(0, 1), speed=0)
    assert walk(tracker, frames(60, 61), speed=0)[-1] == [2]


def test_what_a_lost_tile_hides_does_not_age() -> None:
    for missing, identity in (((0, 0, 320, 480),), 1), ((), 2):
        tracker = Tracker(TrackerSettings(patience=1.0))
        walk(tracker, frames(0, 1), speed=0)
        for moment in frames(1, 4):
            tracker.update(replace(found(at(moment), []), missing=missing))
        assert walk(tracker, frames(4, 5), speed=0)[-1] == [identity]


def test_a_car_never_takes_over_the_identity_of_a_person() -> None:
    tracker = Tracker()
    walk(tracker, frames(0, 1), speed=0)
    for moment in frames(1, 2):
        tracks = tracker.update(found(at(moment), boxes_at((100, 200)), classes=[1]))
    assert (tracks.ids.tolist(), tracks.labels) == ([2], ["car"])


def test_weak_detections_prolong_a_track_and_begin_none() -> None:
    tracker = Tracker()
    walk(tracker, frames(0, 1), speed=0)
    for moment in frames(1, 5):
        places = boxes_at((100, 200), (400, 200))
        tracks = tracker.update(found(at(moment), places, scores=[0.2, 0.4]))
        assert tracks.ids.tolist() == [1]
    assert tracks.scores.tolist() == [pytest.approx(0.2)]


def test_a_detection_that_flashes_up_once_is_nobody() -> None:
    tracker = Tracker()
    tracker.update(found(at(0), []))
    given = [tracker.update(found(at(0.04), boxes_at((100, 200)))), tracker.update(found(at(0.08), []))]
    given += [tracker.update(found(at(moment), boxes_at((400, 200)))) for moment in (0.12, 0.16)]
    assert [tracks.ids.tolist() for tracks in given] == [[], [], [], [1]]


def test_a_double_of_a_tracked_object_is_not_another_one() -> None:
    tracker = Tracker()
    tracker.update(found(at(0), boxes_at((100, 200))))
    for moment in frames(0.04, 1):
        tracks = tracker.update(found(at(moment), boxes_at((100, 200), (103, 205)), scores=[0.9, 0.8]))
    assert tracks.ids.tolist() == [1]


@pytest.mark.parametrize("classes", [[0, 0, 0], [1, 0, 0]])
def test_doubles_that_come_up_together_are_one_and_the_best_counts(classes: list[int]) -> None:
    tracker = Tracker()
    places, scores = boxes_at((103, 205), (300, 200), (100, 200)), [0.8, 0.7, 0.9]
    for moment in frames(0, 0.2):
        tracks = tracker.update(found(at(moment), places, scores, classes))
        assert (tracks.ids.tolist(), tracks.scores.tolist()) == ([1, 2], pytest.approx([0.7, 0.9]))


@pytest.mark.parametrize("smooth", [False, True])
@pytest.mark.parametrize(("across", "down"), [(0.5, 0.5), (2, 2), (0.5, 0.75)])
def test_identities_survive_a_picture_of_another_size(across: float, down: float, smooth: bool) -> None:
    """In the new pixels each is where the other one was in the old ones, or far from where it was itself."""
    tracker = Tracker(TrackerSettings(smooth=smooth))
    for moment in frames(0, 2):
        factor = np.array([across, down, across, down] if moment >= 1 else [1] * 4, np.float32)
        boxes = np.array(boxes_at((100 + 20 * moment, 150), (200 + 40 * moment, 300)), np.float32) * factor
        origin = replace(at(moment), width=round(640 * factor[0]), height=round(480 * factor[1]))
        tracks = tracker.update(found(origin, boxes.tolist()))
        assert tracks.ids.tolist() == [1, 2]
        assert np.abs(tracks.boxes - boxes).max() < 6


def test_smooth_boxes_stay_nearer_to_the_truth_than_shaky_detections_and_inside_the_picture() -> None:
    shake = np.random.default_rng(3).normal(0, 3, (200, 4))
    errors = {}
    for smooth in (False, True):
        tracker = Tracker(TrackerSettings(smooth=smooth))
        off = []
        for number, moment in enumerate(frames(0, 8)):
            true = np.array(boxes_at((30 + 60 * moment, 200)))
            tracks = tracker.update(found(at(moment), (true + shake[number]).tolist()))
            off.append(np.abs(tracks.boxes - true).mean())
        errors[smooth] = np.mean(off[25:])
    assert errors[True] < 0.8 * errors[False]
    edge = Tracker(TrackerSettings(smooth=True))
    for moment in frames(0, 1):
        tracks = edge.update(found(at(moment), [[0, 0, max(4.0, 40 - 40 * moment), 60]]))
        assert tracks.boxes[0, 0] >= 0


def test_nothing_given_is_changed() -> None:
    tracker = Tracker(TrackerSettings(smooth=True))
    for moment in frames(0, 1):
        value = found(at(moment), boxes_at((100 + 80 * moment, 200)))
        before = value.boxes.copy()
        tracker.update(value)
        assert np.array_equal(value.boxes, before)


@given(
    st.lists(
        arrays.arrays(
            np.float32, st.tuples(st.integers(0, 6), st.just(4)), elements=st.floats(-50, 700, width=32)
        ),
        min_size=1,
        max_size=8,
    )
)
@settings(max_examples=60, deadline=None)
def test_whatever_comes_identities_are_unique_and_boxes_finite(pictures: list[np.ndarray]) -> None:
    tracker = Tracker(TrackerSettings(smooth=True))
    for number, corners in enumerate(pictures):
        low, high = np.sort(corners.reshape(-1, 2, 2), axis=1).transpose(1, 0, 2)
        boxes = np.concatenate([low, high], axis=1)
        tracks = tracker.update(
            Detections(at(number / FPS), boxes, np.full(len(boxes), 0.9), np.zeros(len(boxes)))
        )
        assert len(set(tracks.ids.tolist())) == len(tracks) <= len(boxes)
        assert np.isfinite(tracks.boxes).all()
        assert (tracks.ids >= 1).all()


def test_time_between_frames_is_that_of_the_best_clock() -> None:
    origin = Origin("north", 0, 5, 1.0, 1e9, 0.0, 70.0)
    assert elapsed(origin, replace(origin, index=6, media=1.2, monotonic=70.9)) == pytest.approx(0.2)
    assert elapsed(origin, replace(origin, index=6, session=1, media=0.0, monotonic=73.0)) == pytest.approx(3)
    assert elapsed(Origin("north"), Origin("north", index=5)) == pytest.approx(5 / 25)
    assert elapsed(origin, replace(origin, media=0.5)) == 0  # a clock that went back tells nothing
