"""What moves in front of a fixed camera."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from flowedge import Detections, Frame, Operator, State
from flowedge.graph.per_camera import all_hold, of_camera
from flowedge.values import Image, scaled

_WARM_UP = 25  # frames from which the background is learnt before anything is reported
_MEMORY = 300  # frames after which what stands still has become background
_STATES = 2  # that one pixel of background may have; with OpenCV's 5, slow people melt into it (measured)
_SHADOW = 127  # what OpenCV marks a shadow with, where 255 is foreground
_MIN_AREA = 120.0
_THRESHOLD = 25.0


@dataclass
class MotionDetect(Operator[Frame, Detections]):
    """Boxes of class "moving" around what differs from the background that each camera has shown so far.

    Looks at the frame scaled to `width` pixels across. Boxes below `min_area` square pixels of the source are
    noise; `threshold` is the squared distance from the background, in its own deviations, at which a pixel
    counts, so a lower one sees more. A score is the part of the box, 0..1, that moves. The first frames of a
    session, or after the frame size changed, only teach the background and give no boxes. `min_area` and
    `threshold` may be mappings by camera name. OpenCV does not give its background out, so a camera that is
    moved to another copy is learnt anew there. Raises `ConfigError` where a number is not above 0.

    >>> from flowedge.testing import frames, run_operator
    >>> [len(found) for found in run_operator(MotionDetect(), frames(30, 320, 240))][-1]
    1
    """

    state = State.PER_CAMERA

    per_camera = ("min_area", "threshold")

    min_area: float | Mapping[str, float] = _MIN_AREA
    threshold: float | Mapping[str, float] = _THRESHOLD
    width: int = 448
    _backgrounds: dict[str, _Background] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(
            "min_area", all_hold(self.min_area, lambda area: area > 0), "a number of square pixels above 0"
        )
        self.require("threshold", all_hold(self.threshold, lambda distance: distance > 0), "a number above 0")
        self.require("width", self.width >= 16, "a number of pixels from 16")

    def process(self, frame: Frame, /) -> Detections:
        """What moves in the frame."""
        camera, scene = frame.origin.camera, (frame.origin.session, frame.region, frame.width, frame.height)
        background = self._backgrounds.get(camera)
        if background is None or background.scene != scene:
            threshold = of_camera(self.threshold, camera, _THRESHOLD)
            background = self._backgrounds[camera] = _Background(scene, threshold)
        width = min(self.width, frame.width)
        height = max(1, round(width * frame.height / frame.width))
        x, y, across, down, count = background.moving(frame.bgr(width, height)).T
        boxes = np.stack([x, y, x + across, y + down], axis=1).astype(np.float32)
        boxes = scaled(boxes, (0, 0, width, height), frame.region)
        least = of_camera(self.min_area, camera, _MIN_AREA)
        large = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) >= least
        scores = np.clip(count / (across * down), 0, 1)
        classes = np.zeros(len(boxes), np.int32)
        return Detections(frame.origin, boxes, scores, classes, names=("moving",)).select(large)

    def flush(self, camera: str) -> Iterable[Detections]:
        """Forget the camera's background."""
        self._backgrounds.pop(camera, None)
        return ()


class _Background:
    """What one camera shows while nothing moves; `scene` says for which session and size."""

    def __init__(self, scene: object, threshold: float) -> None:
        import cv2

        self.scene = scene
        self._frames = 0
        self._model = cv2.createBackgroundSubtractorMOG2(_MEMORY, threshold, detectShadows=True)
        self._model.setNMixtures(_STATES)
        self._grain = cv2.getStructuringElement(cv2.MORPH_RECT, (2, 2))
        self._body = cv2.getStructuringElement(cv2.MORPH_RECT, (3, 5))  # joins head, trunk and legs

    def moving(self, image: Image) -> NDArray[np.int32]:
        """N x 5: x, y, width, height of each thing that moves and how many of its pixels do."""
        import cv2

        self._frames += 1
        mask = self._model.apply(image)
        if self._frames <= _WARM_UP:
            return np.empty((0, 5), np.int32)
        mask = cv2.threshold(mask, _SHADOW, 255, cv2.THRESH_BINARY)[1]
        mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, self._grain)
        mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, self._body)
        stats = cv2.connectedComponentsWithStats(mask, connectivity=8, ltype=cv2.CV_32S)[2]
        return np.asarray(stats[1:], np.int32)  # the first is the background
