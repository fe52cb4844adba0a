"""Frames cut into overlapping tiles, so that a network sees small objects as large as it can find them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from flowedge import Frame, Split
from flowedge.graph.per_camera import of_camera, values
from flowedge.values import InvalidValueError, Rect

_TILES = 4


@dataclass
class Slice(Split[Frame, Frame]):
    """Cut each frame into overlapping tiles; `NonMaxMerge` brings together the detections in them.

    `tiles` is a number of tiles, laid out in the rows and columns that make them nearest to square for the
    frame's shape, or `(rows, columns)`; 4 where neither it nor `size` is given; it may be a mapping by camera
    name. `size` is a tile's
    `(width, height)` in the frame's own pixels, and as many tiles are cut as cover the frame; of a frame that
    is narrower or lower, tiles are as wide or as high as the frame.

    Neighbours share `overlap` of a tile's width and height, rounded down to pixels. All tiles have one size,
    together they show the whole frame and nothing else, and they come row by row from the top left. The last
    of a row or column ends with the frame, so it may share more with its neighbour. These are the slices that
    SAHI cuts (Akyon et al. 2022, "Slicing Aided Hyper Inference") for the same size and overlap.

    `whole_frame` adds the frame itself as the last part, for objects larger than a tile; it is not given twice
    where there is one tile only. Tiles are views of the frame's pixels.

    Raises `ConfigError` for an overlap outside 0 <= overlap < 1 and for both `tiles` and `size`. A frame that
    has too few pixels for `tiles` fails with `InvalidValueError`; those of other cameras are cut.

    >>> from flowedge.testing import frames
    >>> [frame] = frames(1, 1920, 1080)
    >>> [part.region for part in Slice(2, overlap=0.25).split(frame)]
    [(0, 0, 1098, 1080), (822, 0, 1920, 1080), (0, 0, 1920, 1080)]
    >>> [len(Slice(**cut).split(frame)) for cut in ({"tiles": (2, 3)}, {"size": (640, 640)}, {"tiles": 1})]
    [7, 9, 1]
    """

    per_camera = ("tiles",)

    tiles: int | tuple[int, int] | Mapping[str, int | tuple[int, int]] | None = None
    overlap: float = 0.2
    whole_frame: bool = True
    size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("overlap", 0 <= self.overlap < 1, "a share of a tile from 0 up to, not including, 1")
        if self.size is not None:
            self.require("size", _is_pair(self.size), "a (width, height) of whole pixels from 1")
            self.require("size", self.tiles is None, f"to be given beside tiles={self.tiles!r}: leave one out")
            return
        if self.tiles is None:
            self.tiles = _TILES
        counted = all(map(_is_count, values(self.tiles)))
        self.require("tiles", counted, "a number of tiles from 1 or a pair (rows, columns) of such numbers")

    def split(self, frame: Frame, /) -> Sequence[Frame]:
        """The tiles row by row and then, unless there is one tile only, the frame itself.

        Raises `InvalidValueError` where `tiles` do not fit the frame.
        """
        rects = self._rects(frame)
        whole = len(rects) == 1 or self.whole_frame
        cut = rects if len(rects) > 1 else ()
        count = len(cut) + whole
        parts = [frame.crop(_in_source(rect, frame), tile=n, tiles=count) for n, rect in enumerate(cut)]
        if whole:
            parts.append(replace(frame, origin=replace(frame.origin, tile=count - 1, tiles=count)))
        return parts

    def _rects(self, frame: Frame) -> tuple[Rect, ...]:
        """The tiles in the frame's own pixels."""
        width, height = frame.width, frame.height
        if self.size is not None:
            tile_w, tile_h = min(self.size[0], width), min(self.size[1], height)
            return _laid_out(width, height, tile_w, tile_h, self.overlap)
        assert self.tiles is not None
        tiles: Any = of_camera(self.tiles, frame.origin.camera, _TILES)
        grid = tiles if isinstance(tiles, tuple) else _grid(tiles, width, height, self.overlap)
        rows, columns = grid
        tile_w, tile_h = _side(width, columns, self.overlap), _side(height, rows, self.overlap)
        rects = _laid_out(width, height, tile_w, tile_h, self.overlap)
        if len(rects) != rows * columns:
            tile = f"with an overlap of {self.overlap:g} they would have {tile_w} x {tile_h} pixels"
            raise InvalidValueError(
                f"{self.name}.tiles: {tiles} does not fit the frames of camera {frame.origin.camera}, "
                f"which have {width} x {height} pixels: {tile}; choose fewer or let them overlap less"
            )
        return rects


def _is_count(tiles: Any) -> bool:
    return _is_pair(tiles) if isinstance(tiles, tuple) else tiles >= 1


def _is_pair(value: tuple[int, ...]) -> bool:
    return len(value) == 2 and all(type(number) is int and number >= 1 for number in value)


def _side(length: int, count: int, overlap: float) -> int:
    """The shortest tile of which `count` cover `length` pixels when neighbours share `overlap` of it."""
    return math.ceil(length / (count - (count - 1) * overlap))


@lru_cache(maxsize=64)
def _grid(count: int, width: int, height: int, overlap: float) -> tuple[int, int]:
    """The rows and columns, together `count` tiles, whose tiles are nearest to square; fewer rows on a tie."""

    def stretch(rows: int) -> float:
        tile_w, tile_h = _side(width, count // rows, overlap), _side(height, rows, overlap)
        return max(tile_w / tile_h, tile_h / tile_w)

    divisors = (rows for rows in range(1, min(count, height) + 1) if count % rows == 0)
    best = min(divisors, key=stretch)
    return best, count // best


@lru_cache(maxsize=64)
def _laid_out(width: int, height: int, tile_w: int, tile_h: int, overlap: float) -> tuple[Rect, ...]:
    """Tiles that cover width x height pixels, row by row."""
    lefts, tops = _starts(width, tile_w, overlap), _starts(height, tile_h, overlap)
    return tuple((left, top, left + tile_w, top + tile_h) for top in tops for left in lefts)


def _starts(length: int, side: int, overlap: float) -> list[int]:
    """Where tiles of `side` pixels begin that cover `length` pixels; the last one ends there."""
    step = side - int(overlap * side)
    return [*range(0, length - side, step), length - side]


def _in_source(rect: Rect, frame: Frame) -> Rect:
    """A rectangle in the frame's own pixels as one in source pixels."""
    left, top, right, bottom = frame.region
    across, down = (right - left) / frame.width, (bottom - top) / frame.height
    x1, y1, x2, y2 = rect
    return round(left + x1 * across), round(top + y1 * down), round(left + x2 * across), round(top + y2 * down)
