"""Merge the detections in the tiles of a frame: one box per object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from flowedge import Detections, Gather
from flowedge.vision.tile_merging import join, surest_rows, together


@dataclass
class NonMaxMerge(Gather[Detections, Detections]):
    """Bring together the detections in the tiles of a frame (see `Slice`), each object once.

    Boxes of different parts show one object if they overlap by at least `overlap` where both parts looked, and
    each fits the other best; `metric` is "iou" (intersection over union) or "ios" (over the smaller box). An
    object that some part saw whole keeps the mean of its whole boxes, weighed by score, and loses the pieces
    that tile edges cut from it; pieces of an object that no part saw whole are joined. Scores are the best of
    each group. `flowedge.vision.tile_merging` says the rule in full. Boxes of one part are never joined with
    each other.

    With `class_aware` only boxes of one class are joined. The result is of the frame, no longer of a tile; its
    `region` surrounds those of the parts.

    >>> from flowedge.operators.slice import Slice
    >>> from flowedge.testing import frames
    >>> [frame] = frames(1, 400, 300)
    >>> left, right = Slice(2, whole_frame=False).split(frame)
    >>> left.region, right.region
    ((0, 0, 223, 300), (177, 0, 400, 300))
    >>> cars = [
    ...     Detections(left.origin, [[150, 90, 223, 150]], [0.9], [0], ("car",), region=left.region),
    ...     Detections(right.origin, [[177, 90, 260, 150]], [0.7], [0], ("car",), region=right.region),
    ... ]
    >>> NonMaxMerge().gather(cars).boxes
    array([[150.,  90., 260., 150.]], dtype=float32)
    """

    overlap: float = 0.5
    metric: Literal["iou", "ios"] = "iou"
    class_aware: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("overlap", 0 < self.overlap <= 1, "an overlap above 0 and up to 1")

    def gather(self, parts: Sequence[Detections], /) -> Detections:
        """The objects of all parts, best score first. Raises `InvalidValueError` where class names differ."""
        combined = together(self.name, parts)
        views = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
        columns = combined.boxes, combined.scores, combined.classes
        joined = join(*columns, views, _regions(parts), self.overlap, self.metric, self.class_aware)
        # Attributes are those of the surest box of each object.
        best = surest_rows(joined.objects, combined.scores)
        attributes = {name: column[best] for name, column in combined.attributes.items()}
        return replace(
            combined, boxes=joined.boxes, scores=joined.scores, classes=joined.classes, attributes=attributes
        )


def _regions(parts: Sequence[Detections]) -> NDArray[np.float64]:
    """Where each part looked, P x 4 in source pixels; the whole frame where it does not say."""
    origin = parts[0].origin
    width, height = origin.width or np.inf, origin.height or np.inf
    everywhere = (0.0, 0.0, width, height)
    return np.array([everywhere if part.region is None else part.region for part in parts], np.float64)
