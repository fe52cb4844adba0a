"""Faces and their landmarks in frames."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowedge import Faces, Frame, Operator
from flowedge.graph.per_camera import all_hold, of_camera
from flowedge.inference.models import ModelError, resolve
from flowedge.values import Image, scaled
from flowedge.vision.faces import moved_points

_MAX_CANDIDATES = 5000  # that go into the suppression of doubles
_CONFIDENCE = 0.7
_MIN_SIZE = 32  # pixels: the largest stride of YuNet


@dataclass
class DetectFaces(Operator[Frame, Faces]):
    """Find faces and their five landmarks with YuNet (Wu, Peng and Yu 2023), run by OpenCV.

    The picture is scaled down until its longer side has at most `size` pixels. YuNet finds faces from about 10
    to 300 pixels high, so a larger `size` finds smaller faces, at a cost that grows with its square.
    `confidence` is the lowest score of a face, or a mapping by camera name; boxes that overlap by more than
    `overlap` (IoU) are one face. Boxes and landmarks are in source pixels, the one class is "face".

    Raises `ConfigError` for a number out of range, `ModelError` for a model that is not there or not YuNet.

    >>> DetectFaces(size=1280).size
    1280
    """

    per_camera = ("confidence",)

    model: str = "yunet"
    size: int = 640
    confidence: float | Mapping[str, float] = _CONFIDENCE
    overlap: float = 0.3
    _network: Any = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("size", self.size >= _MIN_SIZE, f"a number of pixels from {_MIN_SIZE}")
        self.require(
            "confidence", all_hold(self.confidence, lambda score: 0 <= score <= 1), "a score from 0 to 1"
        )
        self.require("overlap", 0 < self.overlap <= 1, "an overlap above 0 and up to 1")

    def setup(self) -> None:
        import cv2

        path, blank = resolve(self.model), np.zeros((_MIN_SIZE, _MIN_SIZE, 3), np.uint8)
        try:
            with _only_errors_told():
                self._network = cv2.FaceDetectorYN.create(
                    str(path), "", (_MIN_SIZE, _MIN_SIZE), _CONFIDENCE, self.overlap, _MAX_CANDIDATES
                )
            self._rows(blank, _CONFIDENCE)
        except cv2.error as error:
            raise ModelError(
                f"{self.name}.model: {path.name} is not a YuNet face detector that OpenCV can run: "
                f"face_detection_yunet_2026may.onnx of the OpenCV zoo is one"
            ) from error

    def process(self, frame: Frame, /) -> Faces:
        """The faces in the frame, the surest first."""
        shrink = min(1.0, self.size / max(frame.width, frame.height))
        width, height = max(1, round(frame.width * shrink)), max(1, round(frame.height * shrink))
        confidence = of_camera(self.confidence, frame.origin.camera, _CONFIDENCE)
        x, y, across, down, *points, score = self._rows(frame.bgr(width, height), confidence).T
        looked_at = (0, 0, width, height)
        boxes = scaled(np.stack([x, y, x + across, y + down], axis=1), looked_at, frame.region)
        landmarks = moved_points(np.stack(points, axis=1).reshape(-1, 5, 2), looked_at, frame.region)
        return Faces(
            frame.origin,
            boxes,
            score,
            np.zeros(len(score), np.int32),
            ("face",),
            region=frame.region,
            landmarks=landmarks,
        )

    def _rows(self, image: Image, confidence: float) -> NDArray[np.float32]:
        """K x 15: x, y, width, height, five points, score."""
        self._network.setScoreThreshold(confidence)
        self._network.setInputSize((image.shape[1], image.shape[0]))
        rows = self._network.detect(image)[1]
        return np.empty((0, 15), np.float32) if rows is None else np.asarray(rows, np.float32)


@contextmanager
def _only_errors_told() -> Iterator[None]:
    """OpenCV 5 warns of every network that its way to choose a processor "is not supported for now"."""
    import cv2

    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level)
