from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from flowedge import ConfigError, Detections, Origin, Rect
from flowedge.operators.track_tile import TrackTile
from flowedge.testing import run_operator


def found(
    index: int, tile: int = 0, camera: str = "north", region: Rect | None = (0, 0, 100, 100), left: float = 10
) -> Detections:
    """One person in a tile, who walks a pixel a frame."""
    origin = Origin(camera, index=index, media=index / 25, width=200, height=100, tile=tile, tiles=2)
    box = [left + index, 10, left + 20 + index, 60]
    return Detections(origin, [box], [0.9], [0], ("person",), ((90, 0, 100, 100),), region)


def test_the_tile_stays_with_its_tracks() -> None:
    one = found(0)
    [tracks] = run_operator(TrackTile(), [one])
    assert (tracks.origin, tracks.region, tracks.missing, tracks.names) == (
        one.origin,
        one.region,
        one.missing,
        one.names,
    )
    assert np.array_equal(tracks.boxes, one.boxes)


def test_one_person_keeps_one_identity_in_a_tile() -> None:
    tracks = run_operator(TrackTile(), [found(index) for index in range(20)])
    assert {tuple(each.ids.tolist()) for each in tracks} == {(1,)}


def test_tiles_and_cameras_are_tracked_by_themselves() -> None:
    """The same numbers as when each tile had an operator to itself, in whatever order they come."""
    places = [(camera, tile) for camera in ("north", "south") for tile in (0, 1)]
    mixed = run_operator(
        TrackTile(),
        [
            found(n, tile, camera, left=10 + 150 * (n > 5 and tile))
            for n in range(12)
            for camera, tile in places
        ],
    )
    for camera, tile in places:
        alone = run_operator(
            TrackTile(), [found(n, tile, camera, left=10 + 150 * (n > 5 and tile)) for n in range(12)]
        )
        of_place = [each for each in mixed if (each.origin.camera, each.origin.tile) == (camera, tile)]
        assert [each.ids.tolist() for each in of_place] == [each.ids.tolist() for each in alone]
        assert len({i for each in alone for i in each.ids.tolist()}) == 1 + tile


def test_identities_of_a_tracker_begun_later_are_new_ones() -> None:
    """Another replica takes over: what it sees is not what the first one saw."""
    first = run_operator(TrackTile(), [found(index) for index in range(10)])
    second = run_operator(TrackTile(), [found(index) for index in range(10, 20)])
    ids = [{i for each in tracks for i in each.ids.tolist()} for tracks in (first, second)]
    assert all(ids)
    assert not ids[0] & ids[1]


def test_a_tile_that_shows_something_else_is_begun_anew() -> None:
    regions = [(0, 0, 100, 100)] * 5 + [(50, 0, 150, 100)] * 5
    tracks = run_operator(TrackTile(), [found(n, region=region) for n, region in enumerate(regions)])
    assert len({each.ids[0] for each in tracks}) == 2
    assert len({each.ids[0] for each in tracks[5:]}) == 1


def test_the_end_of_a_camera_is_the_end_of_its_tracks_only() -> None:
    step = TrackTile()
    for camera in ("north", "south"):
        step.process(found(0, camera=camera))
    step.flush("north")
    assert step.process(found(1, camera="south")).ids.tolist() == [1]
    assert step.process(found(1, camera="north")).ids.tolist() != [1]


@pytest.mark.parametrize(("patience", "same"), [(0.5, True), (0.1, False)])
def test_patience_is_how_long_a_track_is_kept(patience: float, same: bool) -> None:
    def empty(index: int) -> Detections:
        return found(index).select([False])

    values = [found(n) if n < 5 or n > 10 else empty(n) for n in range(20)]
    ids = [each.ids[0] for each in run_operator(TrackTile(patience=patience), values) if len(each)]
    assert (ids[0] == ids[-1]) == same


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"patience": -1}, r"TrackTile.patience: -1 is not a number of seconds from 0"),
        ({"low": 1.5}, r"TrackTile.low: 1.5 is not a score from 0 to 1"),
        ({"low": 0.5, "new": 0.4}, r"TrackTile.new: 0.4 is not a score from 0.5 \(low\) to 1"),
    ],
)
def test_impossible_fields_are_refused(fields: dict[str, float], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        TrackTile(**fields)


def test_low_and_new_are_the_scores_that_prolong_and_begin_a_track() -> None:
    def ids(score: float, **fields: float) -> list[list[int]]:
        values = [replace(found(n), scores=np.array([0.9 if n == 0 else score], np.float32)) for n in range(4)]
        return [each.ids.tolist() for each in run_operator(TrackTile(**fields), values)]

    assert ids(0.4) == [[1]] * 4
    assert ids(0.4, low=0.5) == [[1], [], [], []]
    assert ids(0.4, new=0.95) == [[]] * 4
