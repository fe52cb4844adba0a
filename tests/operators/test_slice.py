"""Tiles cover the frame, overlap as asked, are views, and refuse what does not fit."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowedge import ConfigError, Detections, Frame, Graph, Operator, Origin, UserError, choose
from flowedge.operators.non_max_merge import NonMaxMerge
from flowedge.operators.slice import Slice
from flowedge.runtime.run import Run
from flowedge.testing import Collect, ListSource, frames
from flowedge.values import InvalidValueError

SECONDS = 60  # none gets near it unless it hangs


class Pictures(ListSource[Frame]):
    """The frames as files."""


class FindNothing(Operator[Frame, Detections]):
    def process(self, frame: Frame, /) -> Detections:
        return Detections(frame.origin, [], [], [], region=frame.region)


def frame(width: int, height: int) -> Frame:
    return Frame(Origin("north", index=3, width=width, height=height), np.zeros((height, width, 3), np.uint8))


def tiles_of(step: Slice, shown: Frame) -> list[tuple[int, int, int, int]]:
    return [part.region for part in replace(step, whole_frame=False).split(shown)]


def grid_of(step: Slice, width: int, height: int) -> tuple[int, int]:
    """Rows and columns of the tiles."""
    tiles = tiles_of(step, frame(width, height))
    return len({top for _, top, _, _ in tiles}), len({left for left, _, _, _ in tiles})


@pytest.mark.parametrize(
    ("count", "shape", "grid"),
    [
        (1, (1920, 1080), (1, 1)),
        (2, (1920, 1080), (1, 2)),
        (2, (1080, 1920), (2, 1)),
        (4, (1920, 1080), (2, 2)),
        (4, (1000, 200), (1, 4)),
        (6, (1920, 1080), (2, 3)),
        (6, (768, 768), (2, 3)),
        (6, (576, 768), (3, 2)),
        (7, (1920, 1080), (1, 7)),
        (12, (1920, 1080), (3, 4)),
    ],
)
def test_a_count_becomes_the_grid_of_the_squarest_tiles(count: int, shape: Any, grid: Any) -> None:
    assert grid_of(Slice(count), *shape) == grid


def test_rows_and_columns_are_taken_as_given() -> None:
    assert grid_of(Slice((3, 1)), 1920, 1080) == (3, 1)


def test_four_tiles_are_the_default() -> None:
    assert Slice() == Slice(4)


# What SAHI 0.12.8 (`get_slice_bboxes`) gives: width, height, tile, overlap, left edges, top edges.
SAHI = [
    (1920, 1080, (739, 600), 0.2, [0, 592, 1181], [0, 480]),
    (1360, 765, (400, 295), 0.2, [0, 320, 640, 960], [0, 236, 470]),
    (1920, 1080, (640, 640), 0.2, [0, 512, 1024, 1280], [0, 440]),
    (1920, 1080, (512, 512), 0.0, [0, 512, 1024, 1408], [0, 512, 568]),
    (640, 480, (640, 300), 0.33, [0], [0, 180]),
]


@pytest.mark.parametrize(("width", "height", "size", "overlap", "lefts", "tops"), SAHI)
def test_tiles_of_a_size_lie_where_sahi_puts_them(
    width: int, height: int, size: Any, overlap: float, lefts: Any, tops: Any
) -> None:
    tiles = tiles_of(Slice(size=size, overlap=overlap), frame(width, height))
    assert tiles == [(x, y, x + size[0], y + size[1]) for y in tops for x in lefts]


@settings(deadline=None)
@given(
    width=st.integers(200, 4000),
    height=st.integers(200, 4000),
    rows=st.integers(1, 4),
    columns=st.integers(1, 4),
    overlap=st.floats(0, 0.6),
)
def test_tiles_are_equal_cover_the_frame_and_overlap_as_asked(
    width: int, height: int, rows: int, columns: int, overlap: float
) -> None:
    picture = np.broadcast_to(np.zeros(3, np.uint8), (height, width, 3))
    shown = Frame(Origin("north", width=width, height=height), picture)
    tiles = np.array(tiles_of(Slice((rows, columns), overlap), shown))
    assert len(tiles) == rows * columns
    assert len(np.unique(tiles[:, 2:] - tiles[:, :2], axis=0)) == 1
    for axis, length in ((0, width), (1, height)):
        starts = np.unique(tiles[:, axis])
        side = tiles[0, axis + 2] - tiles[0, axis]
        assert starts[0] == 0
        assert starts[-1] + side == length
        shared = side - np.diff(starts)
        assert (shared >= int(overlap * side)).all()
        assert (shared[:-1] == int(overlap * side)).all()
        assert (shared < int(overlap * side) + 2 * len(starts)).all()


@settings(deadline=None)
@given(
    width=st.integers(8, 60),
    height=st.integers(8, 60),
    tile_w=st.integers(1, 8),
    tile_h=st.integers(1, 8),
    overlap=st.floats(0, 0.99),
)
def test_no_pixel_lies_outside_every_tile(
    width: int, height: int, tile_w: int, tile_h: int, overlap: float
) -> None:
    seen = np.zeros((height, width), bool)
    for x1, y1, x2, y2 in tiles_of(Slice(size=(tile_w, tile_h), overlap=overlap), frame(width, height)):
        assert (x2 - x1, y2 - y1) == (tile_w, tile_h)
        seen[y1:y2, x1:x2] = True
    assert seen.all()


def test_tiles_are_views_of_the_frames_pixels() -> None:
    [shown] = frames(1, 640, 360)
    for part in Slice(4).split(shown):
        x1, y1, x2, y2 = part.region
        assert np.shares_memory(part.image, shown.image)
        assert np.array_equal(part.image, shown.image[y1:y2, x1:x2])


def test_the_frame_itself_is_the_last_part() -> None:
    [shown] = frames(1, 640, 360)
    parts = Slice(4).split(shown)
    assert parts[-1].region == shown.region
    assert parts[-1].picture is shown.picture
    assert [(part.origin.tile, part.origin.tiles) for part in parts] == [(n, 5) for n in range(5)]
    assert {part.origin.key for part in parts} == {shown.origin.key}


def test_a_decoded_frame_is_not_converted_twice() -> None:
    """The whole part still has the decoder's picture, which is scaled and converted in one step."""
    picture = av.VideoFrame.from_ndarray(np.full((360, 640, 3), 90, np.uint8), format="bgr24").reformat(
        format="yuv420p"
    )
    picture.time_base = Fraction(1, 25)
    shown = Frame(Origin("north", width=640, height=360), picture)
    *tiles, whole = Slice(4).split(shown)
    assert whole.picture is picture
    assert all(np.shares_memory(tile.image, shown.image) for tile in tiles)


def test_without_the_whole_frame_there_are_only_tiles() -> None:
    parts = Slice(4, whole_frame=False).split(frame(640, 360))
    assert [(part.origin.tile, part.origin.tiles) for part in parts] == [(n, 4) for n in range(4)]


@pytest.mark.parametrize("whole_frame", [True, False])
@pytest.mark.parametrize("cut", [{"tiles": 1}, {"tiles": (1, 1)}, {"size": (640, 360)}])
def test_one_tile_is_the_frame_once(whole_frame: bool, cut: Any) -> None:
    shown = frame(640, 360)
    [part] = Slice(**cut, whole_frame=whole_frame).split(shown)
    assert part.region == shown.region
    assert (part.origin.tile, part.origin.tiles) == (0, 1)


def test_a_resized_frame_is_cut_in_its_own_pixels_and_says_where_in_the_source() -> None:
    shown = frame(1920, 1080)
    small = shown.replace(image=shown.bgr(960, 540))
    parts = Slice(size=(480, 540), overlap=0, whole_frame=False).split(small)
    assert [part.image.shape for part in parts] == [(540, 480, 3)] * 2
    assert [part.region for part in parts] == [(0, 0, 960, 1080), (960, 0, 1920, 1080)]


def test_a_cropped_frame_is_cut_within_its_region() -> None:
    part = frame(1920, 1080).crop((100, 200, 900, 1000))
    assert tiles_of(Slice((1, 2), overlap=0), part) == [(100, 200, 500, 1000), (500, 200, 900, 1000)]


def test_the_number_of_tiles_can_be_a_knob() -> None:
    step = Slice(tiles=choose("tiles", 1, 2, (2, 3)))
    assert step.tiles == 1
    assert step.knobs["tiles"].values == (1, 2, (2, 3))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"overlap": 1.0}, r"Slice.overlap: 1.0 is not a share of a tile from 0 up to, not including, 1"),
        ({"overlap": -0.1}, r"Slice.overlap: -0.1 is not a share"),
        ({"overlap": float("nan")}, r"Slice.overlap: nan is not a share"),
        ({"tiles": 0}, r"Slice.tiles: 0 is not a number of tiles from 1 or a pair \(rows, columns\)"),
        ({"tiles": (2, 0)}, r"Slice.tiles: \(2, 0\) is not a number of tiles"),
        ({"tiles": (2, 2, 2)}, r"Slice.tiles: \(2, 2, 2\) is not"),
        ({"tiles": "2x2"}, r"Slice.tiles: '2x2' is not a value of type int"),
        ({"size": (0, 640)}, r"Slice.size: \(0, 640\) is not a \(width, height\) of whole pixels from 1"),
        ({"size": (0.5, 0.5)}, r"Slice.size: \(0.5, 0.5\) is not a \(width, height\)"),
        ({"size": 640}, r"Slice.size: 640 is not"),
        (
            {"tiles": 4, "size": (9, 9)},
            r"Slice.size: \(9, 9\) is not to be given beside tiles=4: leave one out",
        ),
    ],
)
def test_impossible_cuts_are_refused(fields: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=f"^{said}"):
        Slice(**fields)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"tiles": (1, 65)}, r"tiles: \(1, 65\) does not fit .* they would have 2 x 48 pixels; choose fewer"),
        ({"tiles": 4001}, r"tiles: 4001 does not fit .* they would have 1 x 48 pixels; choose fewer"),
        ({"tiles": 10**12}, r"tiles: 1000000000000 does not fit"),
        ({"tiles": 4, "overlap": 0.99}, r"tiles: 4 does not fit .* with an overlap of 0.99"),
    ],
)
def test_what_does_not_fit_a_frame_says_its_size_and_camera(fields: Any, said: str) -> None:
    with pytest.raises(InvalidValueError, match=f"^Slice.{said}") as caught:
        Slice(**fields).split(frame(64, 48))
    assert "the frames of camera north, which have 64 x 48 pixels" in str(caught.value)


@pytest.mark.parametrize(
    ("size", "tiles"),
    [
        ((65, 48), [(0, 0, 64, 48)]),
        ((640, 640), [(0, 0, 64, 48)]),
        ((100, 24), [(0, 0, 64, 24), (0, 24, 64, 48)]),
        ((40, 49), [(0, 0, 40, 48), (24, 0, 64, 48)]),
    ],
)
def test_tiles_of_a_size_are_no_larger_than_the_frame(size: Any, tiles: Any) -> None:
    assert tiles_of(Slice(size=size, overlap=0), frame(64, 48)) == tiles


def test_each_camera_has_its_own_tiles() -> None:
    tiles = Slice({"north": 2, "south": (2, 3)}, whole_frame=False)
    counts = [
        len(tiles.split(shown))
        for camera in ("north", "south", "east")
        for shown in frames(1, 640, 360, camera)
    ]
    assert counts == [2, 6, 4]
    with pytest.raises(ConfigError, match=r"Slice\.tiles: \{'north': 0\} is not a number of tiles from 1"):
        Slice({"north": 0})


def sliced(*shown: Frame) -> tuple[Graph, Collect[Detections]]:
    """A graph that cuts the frames into ten columns, and what will come of them."""
    graph, came = Graph("test"), Collect[Detections]()
    parts = graph.source(Pictures(shown)) >> Slice((1, 10), whole_frame=False)
    parts >> FindNothing() >> NonMaxMerge() >> came
    return graph, came


def test_a_camera_whose_frames_are_too_small_fails_alone() -> None:
    small = [replace(each, origin=replace(each.origin, camera="south")) for each in frames(30, 64, 48)]
    graph, came = sliced(*frames(30, 640, 360), *small)
    with Run(graph, max_failures=1.0) as run:
        report = run.wait(SECONDS)
    assert [found.origin.camera for found in came.values] == ["camera"] * 30
    assert report.cameras["south"].failures == {"InvalidValueError at Slice": 30}


def test_where_no_frame_fits_the_run_ends_and_says_why() -> None:
    graph, _ = sliced(*frames(30, 64, 48))
    with (
        pytest.raises(
            UserError, match=r"^Slice failed on \d+ of \d+ frames .*tiles: \(1, 10\) does not fit the"
        ),
        Run(graph) as run,
    ):
        run.wait(SECONDS)
