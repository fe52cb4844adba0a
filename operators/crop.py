"""A part of each frame."""

from __future__ import annotations

from dataclasses import dataclass

from flowedge import ConfigError, Frame, Operator


@dataclass
class Crop(Operator[Frame, Frame]):
    """The rectangle of `width` x `height` source pixels whose top left corner is at `x`, `y`.

    What lies outside the frame is cut off; a rectangle wholly outside raises `ConfigError`. Boxes found in the
    result are still in source pixels.

    >>> from flowedge.testing import frames, run_operator
    >>> run_operator(Crop(600, 0, 100, 100), frames(1, 640, 360))[0].region
    (600, 0, 640, 100)
    """

    x: int
    y: int
    width: int
    height: int

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("x", "y"):
            self.require(name, getattr(self, name) >= 0, "a number of pixels from 0")
        for name in ("width", "height"):
            self.require(name, getattr(self, name) >= 1, "a number of pixels from 1")

    def process(self, frame: Frame, /) -> Frame:
        """The part of the frame that lies in the rectangle."""
        left, top, right, bottom = frame.region
        x1, y1 = max(self.x, left), max(self.y, top)
        x2, y2 = min(self.x + self.width, right), min(self.y + self.height, bottom)
        if x1 >= x2 or y1 >= y2:
            raise ConfigError(
                f"{self.name}: the rectangle x={self.x}, y={self.y}, {self.width} x {self.height} lies outside "
                f"the frames of camera {frame.origin.camera}, which show x {left}..{right}, y {top}..{bottom}"
            )
        return frame.crop((x1, y1, x2, y2))
