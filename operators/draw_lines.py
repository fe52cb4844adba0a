"""Counting lines drawn on frames."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from flowedge import Event, Frame, Operator
from flowedge.graph.per_camera import check_names
from flowedge.video.canvas import Canvas
from flowedge.video.yuv import Colour
from flowedge.vision.lines import WANTED, Lines, are_lines, by_camera, lines_of

Points: TypeAlias = NDArray[np.floating[Any]]

_COLOUR: Colour = (0, 215, 255)
_LINES_PER_THICKNESS = 300  # a line is one pixel thick for each so many rows of the frame
_TICK = 1 / 40  # of the frame's height: the mark on the side to which objects go in
_LETTER_SIZE = 1 / 45
_SMALLEST_LETTERS = 10  # pixels


@dataclass
class DrawLines(Operator[tuple[Frame, Event], Frame]):
    """Draw the lines of `CountLines` and how many objects have crossed them.

    `lines` are those of `CountLines`, whose events are joined to the frames. A tick in the middle of a line
    points to the side to which objects go in. Raises `ConfigError` for lines of another form.

    >>> from flowedge.testing import frames, run_operator
    >>> [frame] = frames(1, 320, 240)
    >>> counts = Event(frame.origin, "counts", {"gate in": 3, "gate out": 1})
    >>> run_operator(DrawLines({"gate": (0, 120, 320, 120)}), [(frame, counts)])[0].image.shape
    (240, 320, 3)
    """

    lines: Lines

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("lines", are_lines(self.lines), WANTED)

    def check_cameras(self, cameras: Collection[str]) -> None:
        if by_camera(self.lines):
            check_names(f"{self.name}.lines", self.lines, cameras, complete=False)

    def process(self, pair: tuple[Frame, Event], /) -> Frame:
        """The frame with lines and counts drawn on it, at the frame's own size."""
        frame, counts = pair
        names, ends = lines_of(self.lines, frame.origin)
        canvas = Canvas(frame)
        thickness = max(1, round(frame.height / _LINES_PER_THICKNESS))
        size = max(_SMALLEST_LETTERS, round(frame.height * _LETTER_SIZE))
        for name, (x1, y1, x2, y2) in zip(names, frame.from_source(ends), strict=True):
            canvas.line(np.array([[x1, y1], [x2, y2]], np.float32), _COLOUR, thickness)
            middle = np.array([x1 + x2, y1 + y2], np.float32) / 2
            inwards = np.array([y1 - y2, x2 - x1], np.float32) / max(np.hypot(x2 - x1, y2 - y1), 1e-6)
            tip = middle + inwards * frame.height * _TICK
            canvas.line(np.stack([middle, tip]), _COLOUR, thickness)
            text = f"{name}: {counts.data.get(f'{name} in', 0)} in, {counts.data.get(f'{name} out', 0)} out"
            _caption(canvas, middle, -inwards, text, size)
        return Frame(frame.origin, canvas.picture, frame.region)


def _caption(canvas: Canvas, beside: Points, way: Points, text: str, size: int) -> None:
    """Write a text on a patch of colour that touches a point from the side to which `way` (unit length) leads.

    It is moved into the picture where it would leave it.
    """
    margin = size // 4
    width, height = canvas.text_width(text, size) + 2 * margin, size + 2 * margin
    x, y = (beside + way * (abs(way[0]) * width + abs(way[1]) * height) / 2).tolist()
    left = max(0, min(round(x - width / 2), canvas.width - width))
    top = max(0, min(round(y - height / 2), canvas.height - height))
    canvas.fill(left, top, left + width, top + height, _COLOUR)
    canvas.text(left + margin, top + size + margin // 2, text, size)
