"""Two pictures in one, the left camera's on the left."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from flowedge import Frame, Operator

_GREY = 32


@dataclass
class SideBySide(Operator[tuple[Frame, Frame], Frame]):
    """Show the two frames of a pair beside each other, from `synchronize`.

    The right picture is scaled to the height of the left one, or both to `height` pixels; `gap` pixels lie
    between them. The result is a frame of the left camera, whose source is the joint picture: boxes of either
    camera do not fit it, so draw them before.

    Raises `ConfigError` for a height that is not above 0 and a gap below 0.

    >>> from flowedge import Origin
    >>> left, right = (Frame(Origin(name), np.zeros((40, 60, 3), np.uint8)) for name in ("north", "south"))
    >>> both = SideBySide(gap=2).process((left, right))
    >>> both.origin.camera, both.width, both.height
    ('north', 122, 40)
    """

    height: int | None = None
    gap: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("height", self.height is None or self.height > 0, "a number of pixels above 0")
        self.require("gap", self.gap >= 0, "a number of pixels from 0")

    def process(self, pair: tuple[Frame, Frame], /) -> Frame:
        """One frame of both pictures."""
        height = self.height or pair[0].height
        left, right = (_of_height(frame, height) for frame in pair)
        width = left.shape[1] + self.gap + right.shape[1]
        image = np.full((height, width, 3), _GREY, np.uint8)
        image[:, : left.shape[1]] = left
        image[:, -right.shape[1] :] = right
        return Frame(replace(pair[0].origin, width=width, height=height), image)


def _of_height(frame: Frame, height: int) -> NDArray[np.uint8]:
    return frame.bgr(max(1, round(frame.width * height / frame.height)), height)
