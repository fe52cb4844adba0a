"""Pictures as they are meant to be seen: turned, mirrored and with square pixels."""

from __future__ import annotations

import struct
from fractions import Fraction
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import av
    from av.filter import Graph

_FILTERS = {  # FFmpeg's filters for each orientation of EXIF
    2: "hflip",
    3: "hflip,vflip",
    4: "vflip",
    5: "transpose=cclock_flip",
    6: "transpose=clock",
    7: "transpose=clock_flip",
    8: "transpose=cclock",
}
_OF_MATRIX = {  # the signs of the upper left 2 x 2 of a display matrix
    (1, 0, 0, 1): 1,
    (-1, 0, 0, 1): 2,
    (-1, 0, 0, -1): 3,
    (1, 0, 0, -1): 4,
    (0, 1, 1, 0): 5,
    (0, 1, -1, 0): 6,
    (0, -1, -1, 0): 7,
    (0, -1, 1, 0): 8,
}
_OF_ROTATION = {90: 8, 180: 3, -180: 3, -90: 6}  # degrees to the left
_UNIT = 1 << 16  # of the fixed-point numbers in a display matrix


def orientation(picture: av.VideoFrame) -> int:
    """How a decoded picture is to be turned and mirrored to stand upright, 1..8 as in EXIF.

    It comes from the display matrix (ISO/IEC 14496-12, 8.3.2.2), which FFmpeg also makes of EXIF. Angles that
    are no multiple of 90 degrees count as none.
    """
    try:
        matrix: Any = picture.side_data.get("DISPLAYMATRIX")
    except (
        ValueError
    ):  # PyAV 18 does not know EXIF beside a picture, and then shows nothing of it but the angle
        return _OF_ROTATION.get(picture.rotation, 1)
    if matrix is None:
        return 1
    a, b, _, c, d, *_ = (round(value / _UNIT) for value in struct.unpack("=9i", memoryview(matrix)))
    return _OF_MATRIX.get((a, b, c, d), 1)


class Upright:
    """Turns the pictures of one camera as an orientation says and makes their pixels square.

    Pixels are made square by stretching the shorter side, as players do: 720 x 576 of ratio 16 : 15 becomes
    768 x 576, and nothing is lost. Pictures that need neither are given back as they are.
    """

    def __init__(self) -> None:
        self._graph: Graph | None = None
        self._made_for: tuple[object, ...] = ()

    def __call__(self, picture: av.VideoFrame, turned: int, ratio: Fraction) -> av.VideoFrame:
        """The picture, `turned` 1..8 as in EXIF, whose pixels are `ratio` times as wide as high (0: square)."""
        if turned == 1 and ratio in (0, 1):
            return picture
        wanted = (
            picture.width, picture.height, picture.format.name, picture.color_range, picture.colorspace,
            turned, ratio,
        )  # fmt: skip
        if self._graph is None or wanted != self._made_for:
            self._graph, self._made_for = _graph(picture, turned, ratio), wanted
        self._graph.vpush(picture)
        return self._graph.vpull()


def squared(width: int, height: int, ratio: Fraction) -> tuple[int, int]:
    """The size in square pixels of a picture whose pixels are `ratio` times as wide as high (0: square).

    >>> squared(720, 576, Fraction(16, 15)), squared(720, 480, Fraction(8, 9)), squared(64, 48, Fraction(0))
    ((768, 576), (720, 540), (64, 48))
    """
    if ratio > 1:
        return round(width * ratio), height
    return (width, round(height / ratio)) if ratio else (width, height)


def _graph(picture: av.VideoFrame, turned: int, ratio: Fraction) -> Graph:
    from av.filter import Graph

    graph = Graph()
    source = {
        "video_size": f"{picture.width}x{picture.height}",
        "pix_fmt": picture.format.name,
        "time_base": str(picture.time_base or Fraction(1, 90_000)),
        "colorspace": str(int(picture.colorspace)),  # without both FFmpeg would convert to other ones
        "range": str(int(picture.color_range)),
    }
    nodes = [graph.add("buffer", None, **source)]
    if ratio not in (0, 1):
        width, height = squared(picture.width, picture.height, ratio)
        nodes.append(graph.add("scale", f"{width}:{height}"))
    for step in filter(None, _FILTERS.get(turned, "").split(",")):
        name, _, arguments = step.partition("=")
        nodes.append(graph.add(name, arguments or None))
    nodes.append(graph.add("buffersink"))
    graph.link_nodes(*nodes).configure()
    return graph
