"""A part of each frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from flowedge import ConfigError, Frame, Operator
from flowedge.graph.per_camera import all_hold, required


@dataclass
class Crop(Operator[Frame, Frame]):
    """The rectangle of `width` x `height` source pixels whose top left corner is at `x`, `y`.

    Each of them may be a mapping by camera name. What lies outside the frame is cut off; a rectangle wholly
    outside raises `ConfigError`. Boxes found in the result are still in source pixels.

    >>> from flowedge.testing import frames, run_operator
    >>> run_operator(Crop(600, 0, 100, 100), frames(1, 640, 360))[0].region
    (600, 0, 640, 100)
    """

    per_camera = ("x", "y", "width", "height")

    x: int | Mapping[str, int]
    y: int | Mapping[str, int]
    width: int | Mapping[str, int]
    height: int | Mapping[str, int]

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("x", "y"):
            self.require(
                name, all_hold(getattr(self, name), lambda pixels: pixels >= 0), "a number of pixels from 0"
            )
        for name in ("width", "height"):
            self.require(
                name, all_hold(getattr(self, name), lambda pixels: pixels >= 1), "a number of pixels from 1"
            )

    def process(self, frame: Frame, /) -> Frame:
        """The part of the frame that lies in the rectangle."""
        left, top, right, bottom = frame.region
        camera = frame.origin.camera
        x, y, width, height = (
            required(getattr(self, name), camera, f"{self.name}.{name}") for name in self.per_camera
        )
        x1, y1 = max(x, left), max(y, top)
        x2, y2 = min(x + width, right), min(y + height, bottom)
        if x1 >= x2 or y1 >= y2:
            raise ConfigError(
                f"{self.name}: the rectangle x={x}, y={y}, {width} x {height} lies outside "
                f"the frames of camera {camera}, which show x {left}..{right}, y {top}..{bottom}"
            )
        return frame.crop((x1, y1, x2, y2))
