"""Frames of another size."""

from __future__ import annotations

from dataclasses import dataclass

from flowedge import Frame, Operator


@dataclass
class Resize(Operator[Frame, Frame]):
    """Scale each frame to `width` x `height` pixels; without a height it keeps its proportions.

    The height that follows from the width is rounded to an even number, as video encoders want it. The region
    of the source that the frame shows stays, so boxes found in the result are still in source pixels. Raises
    `ConfigError` where a size is below 2.

    >>> from flowedge.testing import frames, run_operator
    >>> run_operator(Resize(320), frames(1, 1280, 720))[0].image.shape
    (180, 320, 3)
    """

    width: int
    height: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("width", self.width >= 2, "a number of pixels from 2")
        self.require("height", self.height is None or self.height >= 2, "a number of pixels from 2")

    def process(self, frame: Frame, /) -> Frame:
        """The frame at the new size; itself when it has that size."""
        height = self.height or max(2, 2 * round(self.width * frame.height / frame.width / 2))
        if (frame.width, frame.height) == (self.width, height):
            return frame
        return frame.replace(image=frame.bgr(self.width, height))
