"""Zones and CountZones: who is inside, for how long, by camera and over reconnects."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from flowedge import ConfigError, Origin, Tracks
from flowedge.operators import CountZones, Zones
from flowedge.testing import run_operator
from flowedge.values import InvalidValueError
from flowedge.vision.zones import inside

DOOR = {"door": ((0, 0), (80, 0), (80, 100), (0, 100))}


def at(
    media: float, feet: dict[int, tuple[float, float]], camera: str = "north", session: int = 0, size: int = 0
) -> Tracks:
    """Objects that stand there, by identity."""
    boxes = [[x - 10, y - 40, x + 10, y] for x, y in feet.values()]
    origin = Origin(camera, session=session, index=round(media * 10), media=media, width=size, height=size)
    return Tracks(origin, boxes, [0.9] * len(feet), [0] * len(feet), ids=np.array(list(feet), np.int64))


def test_many_points_in_any_polygon_as_opencv_says() -> None:
    random = np.random.default_rng(3)
    for corners in (3, 4, 9):
        polygon = random.uniform(0, 100, (corners, 2)).astype(np.float32)
        points = random.uniform(-10, 110, (300, 2)).astype(np.float32)
        angles = np.argsort(np.arctan2(*(polygon - polygon.mean(axis=0)).T))
        polygon = polygon[angles]
        expected = [cv2.pointPolygonTest(polygon, point.tolist(), False) > 0 for point in points]
        assert inside(points, polygon).tolist() == expected


def test_nobody_is_nowhere() -> None:
    assert inside(np.empty((0, 2), np.float32), np.eye(3, 2, dtype=np.float32)).shape == (0,)


def test_attributes_say_who_is_inside_and_for_how_long() -> None:
    first, second = run_operator(
        Zones(DOOR), [at(0, {1: (40, 50), 2: (90, 50)}), at(2.5, {2: (50, 50), 1: (40, 50)})]
    )
    assert first.attributes["door"].tolist() == [True, False]
    assert second.attributes["door"].tolist() == [True, True]
    assert second.attributes["door seconds"].tolist() == [0, 2.5]


def test_events_say_who_came_and_left() -> None:
    walk = [at(0, {1: (40, 50)}), at(1, {1: (40, 50), 2: (70, 50)}), at(3, {1: (90, 50), 2: (70, 50)})]
    events = run_operator(CountZones(DOOR), walk)
    assert [event.data["door inside"] for event in events] == [1, 2, 1]
    assert [event.data["door entered"] for event in events] == [(1,), (2,), ()]
    assert (events[2].data["door left"], events[2].data["door seconds"]) == ((1,), (3.0,))
    assert events[2].data["door ids"] == (2,)


def test_quiet_tells_changes_only() -> None:
    still = [at(media, {1: (40, 50)}) for media in (0, 1, 2)]
    assert [event.kind for event in run_operator(CountZones(DOOR), still)] == ["zone change", "zones", "zones"]
    assert len(run_operator(CountZones(DOOR, quiet=True), still)) == 1


def test_out_of_sight_is_inside_for_a_while() -> None:
    events = run_operator(CountZones(DOOR), [at(0, {1: (40, 50)}), at(4, {1: (40, 50)}), at(9, {}), at(15, {})])
    assert [event.data["door inside"] for event in events] == [1, 1, 1, 0]
    assert events[-1].data["door seconds"] == (4.0,)


def test_cameras_have_zones_and_people_of_their_own() -> None:
    zones = {"north": DOOR, "south": {"gate": ((80, 0), (200, 0), (200, 100))}}
    north, south = run_operator(CountZones(zones), [at(0, {1: (40, 50)}), at(0, {1: (190, 60)}, "south")])
    assert north.data["door inside"] == south.data["gate inside"] == 1
    [west] = run_operator(Zones(zones), [at(0, {1: (40, 50)}, "west")])
    assert dict(west.attributes) == {}


def test_parts_of_a_picture_follow_its_size() -> None:
    halves = {"left": ((0, 0), (0.5, 0), (0.5, 1), (0, 1))}
    found = run_operator(Zones(halves), [at(0, {1: (40, 50)}, size=100), at(1, {1: (40, 50)}, size=60)])
    assert [tracks.attributes["left"].tolist() for tracks in found] == [[True], [False]]
    with pytest.raises(InvalidValueError, match="north does not tell its size"):
        run_operator(Zones(halves), [at(0, {})])


def test_time_goes_on_after_a_reconnect() -> None:
    found = run_operator(
        Zones(DOOR), [at(0, {1: (40, 50)}), at(5, {1: (40, 50)}), at(0, {1: (40, 50)}, session=1)]
    )
    assert found[-1].attributes["door seconds"].tolist() == [5]


@pytest.mark.parametrize("clock", ["monotonic", "time"])
def test_the_gap_of_a_reconnect_counts_by_when_frames_were_taken(clock: str) -> None:
    moments = [(0.0, 0, 1000.0), (5.0, 0, 1005.0), (0.0, 1, 1009.0), (2.0, 1, 1011.0)]
    stay = [at(media, {1: (40, 50)}, session=session) for media, session, _ in moments]
    stay = [
        replace(tracks, origin=replace(tracks.origin, index=index, **{clock: taken}))
        for index, (tracks, (_, _, taken)) in enumerate(zip(stay, moments, strict=True))
    ]
    found = run_operator(Zones(DOOR), stay)
    assert [tracks.attributes["door seconds"].tolist() for tracks in found] == [[0], [5], [9], [11]]


def test_who_does_not_come_back_from_a_long_gap_has_left_when_last_seen() -> None:
    before, after = at(5, {1: (40, 50)}), at(0, {}, session=1)
    frames = [
        at(0, {1: (40, 50)}),
        replace(before, origin=replace(before.origin, monotonic=100.0)),
        replace(after, origin=replace(after.origin, monotonic=160.0)),
    ]
    events = run_operator(CountZones(DOOR), frames)
    assert (events[-1].data["door inside"], events[-1].data["door seconds"]) == (0, (5.0,))


@pytest.mark.parametrize("zones", [{}, {"door": ((0, 0), (1, 1))}, {"door": "abc"}, {"north": {}}])
def test_zones_of_another_form_are_refused(zones: dict[str, object]) -> None:
    for kind in (Zones, CountZones):
        with pytest.raises(ConfigError, match=r"zones: .* is not zones by name, each of three or more points"):
            kind(zones)
