"""Detections and tracks drawn on their frames."""

from __future__ import annotations

import colorsys
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from flowedge import Detections, Frame, Operator, State, StateError, Tracks
from flowedge.state.plain import integers, table
from flowedge.video.canvas import Canvas
from flowedge.video.yuv import Colour

_GOLDEN_RATIO = 0.618034  # steps of it around the circle of hues keep neighbours apart, however many
_LINES_PER_THICKNESS = 400  # a line is one pixel thick for each so many rows of the frame
_LETTER_SIZE = 1 / 52  # of the frame's height
_SMALLEST_LETTERS = 10  # pixels


@dataclass
class Draw(Operator[tuple[Frame, Detections], Frame]):
    """Draw boxes, labels (class, identity, score, attributes) and, for `Tracks`, the way of each object.

    `trail` is the number of frames that the way goes back, 0 for none. One colour for each identity, or for
    each class where there is none. Lines and letters grow with the frame. The result is a new picture in the
    format of the frame's own, so a decoded frame goes on to an encoder without conversion.

    >>> from flowedge.testing import frames, run_operator
    >>> [frame] = frames(1, 320, 240)
    >>> found = Detections(frame.origin, [[50, 50, 99, 99]], [0.9], [0], names=("person",))
    >>> run_operator(Draw(), [(frame, found)])[0].image.shape
    (240, 320, 3)
    """

    state = State.PER_CAMERA

    trail: int = 30
    labels: bool = True
    _past: dict[str, deque[_Seen]] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("trail", self.trail >= 0, "a number of frames from 0")

    def process(self, pair: tuple[Frame, Detections], /) -> Frame:
        """The frame with everything drawn on it, at the frame's own size."""
        frame, detections = pair
        canvas = Canvas(frame)
        thickness = max(1, round(frame.height / _LINES_PER_THICKNESS))
        keys = detections.classes.tolist()
        if isinstance(detections, Tracks):
            keys = detections.ids.tolist()
            for identity, points in self._trails(detections, frame):
                canvas.line(points, _colour(identity), thickness)
        boxes = np.round(frame.from_source(detections.boxes)).astype(int).tolist()
        for box, key in zip(boxes, keys, strict=True):
            canvas.outline(box, _colour(key), thickness)
        if self.labels:
            for box, key, text in zip(boxes, keys, _texts(detections), strict=True):
                _label(canvas, box, text, _colour(key))
        return Frame(frame.origin, canvas.picture, frame.region)

    def flush(self, camera: str) -> Iterable[Frame]:
        """Forget the camera's trails."""
        self._past.pop(camera, None)
        return ()

    def snapshot(self, camera: str) -> dict[str, Any] | None:
        """The camera's trails: 24 bytes for an object and frame."""
        if camera not in self._past:
            return None
        past = self._past[camera]
        return {
            "counts": [len(seen.ids) for seen in past],
            "ids": np.concatenate([_NOTHING.ids, *(seen.ids for seen in past)]),
            "boxes": np.concatenate([_NOTHING.boxes, *(seen.boxes for seen in past)]),
        }

    def restore(self, camera: str, state: Any) -> None:
        """Draw the camera's trails on."""
        columns = table(state, ids=(np.int64, ()), boxes=(np.float32, (4,)))
        counts = integers(state, "counts", None)
        if sum(counts) != len(columns["ids"]) or min(counts, default=0) < 0:
            raise StateError(f"counts: {sum(counts)} objects are not {len(columns['ids'])}")
        past: deque[_Seen] = deque(maxlen=self.trail)
        for end, count in zip(accumulate(counts), counts, strict=True):
            past.append(_Seen(columns["ids"][end - count : end], columns["boxes"][end - count : end]))
        self._past[camera] = past

    def _trails(self, tracks: Tracks, frame: Frame) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Where each object stood in the last frames: N x 2 in the frame's pixels, oldest first."""
        past = self._past.setdefault(tracks.origin.camera, deque(maxlen=self.trail))
        past.append(_Seen(tracks.ids, tracks.boxes))
        if not past or not len(tracks):
            return
        ids = np.concatenate([seen.ids for seen in past])
        boxes = frame.from_source(np.concatenate([seen.boxes for seen in past]))
        feet = np.stack([(boxes[:, 0] + boxes[:, 2]) / 2, boxes[:, 3]], axis=1)
        order = np.argsort(ids, kind="stable")
        identities, starts = np.unique(ids[order], return_index=True)
        ways = dict(zip(identities.tolist(), np.split(feet[order], starts[1:]), strict=True))
        for identity in tracks.ids.tolist():
            if len(ways[identity]) > 1:
                yield identity, ways[identity]


class _Seen(NamedTuple):
    """The N objects of a frame: identities and, N x 4, boxes in source pixels."""

    ids: NDArray[np.int64]
    boxes: NDArray[np.float32]


_NOTHING = _Seen(np.empty(0, np.int64), np.empty((0, 4), np.float32))


@lru_cache(maxsize=4096)
def _colour(key: int) -> Colour:
    """A colour for an identity or a class, bright enough for dark letters on it."""
    red, green, blue = colorsys.hsv_to_rgb(key * _GOLDEN_RATIO % 1, 0.65, 1.0)
    return round(255 * blue), round(255 * green), round(255 * red)


def _texts(detections: Detections) -> list[str]:
    """What the label of each object says, e.g. "person #7 0.87"."""
    ids = (
        [f" #{i}" for i in detections.ids.tolist()]
        if isinstance(detections, Tracks)
        else [""] * len(detections)
    )
    rows = zip(detections.labels, ids, detections.scores.tolist(), _attributes(detections), strict=True)
    return [f"{label}{identity} {score:.2f}{more}" for label, identity, score, more in rows]


def _attributes(detections: Detections) -> list[str]:
    """What was added to each object: texts as they are, names of what is true, numbers with their names."""
    words = [""] * len(detections)
    for name, column in detections.attributes.items():
        for row, value in enumerate(column.tolist()):
            if isinstance(value, bool):
                words[row] += f" {name}" if value else ""
            elif isinstance(value, str):
                words[row] += f" {value}" if value else ""
            else:
                words[row] += f" {name} {value:.4g}"
    return words


def _label(canvas: Canvas, box: list[int], text: str, colour: Colour) -> None:
    """Write a text on a patch of colour above the box; below its upper edge where there is no room."""
    size = max(_SMALLEST_LETTERS, round(canvas.height * _LETTER_SIZE))
    margin = size // 4
    width, height = canvas.text_width(text, size) + 2 * margin, size + 2 * margin
    left = max(0, min(box[0], canvas.width - width))
    top = box[1] - height if box[1] >= height else max(0, box[1])
    top = min(top, canvas.height - height)
    canvas.fill(left, top, left + width, top + height, colour)
    canvas.text(left + margin, top + size + margin // 2, text, size)
