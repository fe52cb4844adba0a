"""Drawing on a copy of a frame, in the pixel format that it has.

A decoded picture stays YUV: turning it into BGR to draw and back to encode costs more than the drawing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from flowedge import Frame
from flowedge.video import yuv
from flowedge.video.yuv import Colour, Plane

if TYPE_CHECKING:
    import av

Ink: TypeAlias = tuple[int, ...]

_FONT_SIZE = 27  # pixels that the highest letters of OpenCV's font rise above the line at scale 1
_DARK = (0, 0, 0)
_SHIFT = 1  # line points carry one fractional bit, so on a half-size plane they are read with two


class Canvas:
    """A writable copy of a frame's pixels, drawn on with coordinates in the picture's pixels.

    >>> import numpy as np
    >>> from flowedge import Origin
    >>> canvas = Canvas(Frame(Origin("north"), np.zeros((4, 4, 3), np.uint8)))
    >>> canvas.fill(1, 1, 3, 3, (0, 0, 255))
    >>> canvas.picture[1, 1].tolist()
    [0, 0, 255]
    """

    picture: av.VideoFrame | NDArray[np.uint8]

    def __init__(self, frame: Frame) -> None:
        self.width, self.height = frame.width, frame.height
        picture = frame.picture
        self._inks: dict[Colour, list[tuple[Plane, int, Ink]]] = {}
        self._mix: Callable[[Colour], list[Ink]]
        if isinstance(picture, np.ndarray) or picture.format.name not in yuv.FORMATS:
            self.picture = image = frame.image.copy()
            self._planes = [(image, 1)]
            self._mix = lambda colour: [colour]
        else:
            self.picture = copy = yuv.copied(picture, self.width, self.height)
            self._planes = list(zip(yuv.planes(copy), (1, 2, 2), strict=True))
            self._mix = lambda colour: [(part,) for part in yuv.components(colour, copy)]

    def fill(self, x1: int, y1: int, x2: int, y2: int, colour: Colour) -> None:
        """Fill a rectangle; x2 and y2 lie just outside. What lies outside the picture is left out."""
        x1, y1 = max(x1, 0), max(y1, 0)
        if x1 >= x2 or y1 >= y2:
            return
        for plane, step, ink in self._inked(colour):
            plane[y1 // step : -(-y2 // step), x1 // step : -(-x2 // step)] = ink

    def outline(self, box: Sequence[int], colour: Colour, thickness: int) -> None:
        """Draw the border of a rectangle x1, y1, x2, y2, inside it."""
        x1, y1, x2, y2 = box
        self.fill(x1, y1, x2, y1 + thickness, colour)
        self.fill(x1, y2 - thickness, x2, y2, colour)
        self.fill(x1, y1, x1 + thickness, y2, colour)
        self.fill(x2 - thickness, y1, x2, y2, colour)

    def line(self, points: NDArray[np.float32], colour: Colour, thickness: int) -> None:
        """Draw a line through N x 2 points."""
        import cv2

        fixed = [np.round(points * (1 << _SHIFT)).astype(np.int32)]
        for plane, step, ink in self._inked(colour):
            cv2.polylines(plane, fixed, False, ink, -(-thickness // step), cv2.LINE_8, _SHIFT + step - 1)

    def text_width(self, text: str, size: int) -> int:
        """How many pixels a text in letters `size` pixels high is wide."""
        import cv2

        return cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size / _FONT_SIZE, 1)[0][0]

    def text(self, x: int, y: int, text: str, size: int) -> None:
        """Write dark text whose line begins at x, y; brightness alone carries it, colour stays."""
        import cv2

        plane, _, ink = self._inked(_DARK)[0]
        scale = size / _FONT_SIZE
        cv2.putText(plane, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, scale, ink, 1, cv2.LINE_AA)

    def _inked(self, colour: Colour) -> list[tuple[Plane, int, Ink]]:
        """Each plane, how many pixels of the picture one of its own spans, and the colour's part in it."""
        if colour not in self._inks:
            parts = self._mix(colour)
            self._inks[colour] = [(*plane, ink) for plane, ink in zip(self._planes, parts, strict=True)]
        return self._inks[colour]
