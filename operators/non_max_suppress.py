"""Bring together the detections in the parts of a frame; of boxes that overlap keep the best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from flowedge import Detections, Gather
from flowedge.vision.nms import suppress
from flowedge.vision.tile_merging import together


@dataclass
class NonMaxSuppress(Gather[Detections, Detections]):
    """Bring together the detections in the parts of a frame and keep of boxes that overlap only the best.

    A box goes if a better one that is kept overlaps it by at least `overlap`, whichever parts they are from;
    `metric` and `class_aware` as for `NonMaxMerge`, which knows of tile edges and is the better choice after
    `Slice`.

    >>> from flowedge import Origin
    >>> one = Detections(Origin("north"), [[0, 0, 9, 9]], [0.6], [0])
    >>> other = Detections(Origin("north"), [[0, 0, 9, 8]], [0.8], [0])
    >>> NonMaxSuppress().gather([one, other]).boxes
    array([[0., 0., 9., 8.]], dtype=float32)
    """

    overlap: float = 0.5
    metric: Literal["iou", "ios"] = "iou"
    class_aware: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("overlap", 0 < self.overlap <= 1, "an overlap above 0 and up to 1")

    def gather(self, parts: Sequence[Detections], /) -> Detections:
        """The boxes kept, best score first. Raises `InvalidValueError` where class names differ."""
        combined = together(self.name, parts)
        columns = combined.boxes, combined.scores, combined.classes
        return combined.select(suppress(*columns, self.overlap, self.metric, self.class_aware))
