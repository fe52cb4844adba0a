"""Faces in frames, and what tells one from another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from flowedge import ConfigError, Faces, Frame, Operator
from flowedge.inference.engines import Engine, Model, load
from flowedge.inference.models import ModelError, resolve
from flowedge.inference.yolo import Normalise
from flowedge.values import Image, Rect, scaled

_MOST = 5000  # candidates that go into the suppression of doubles
_SMALLEST = 32  # pixels: the largest stride of YuNet
_SIDE = 112  # pixels of the square picture of a face that embedding networks take
_INSIGHTFACE = Normalise(rgb=True, scale=1 / 127.5, mean=(1.0, 1.0, 1.0))  # -1..1

# Where the five landmarks lie in that picture, as InsightFace's networks were trained.
_TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)


@dataclass
class DetectFaces(Operator[Frame, Faces]):
    """Find faces and their five landmarks with YuNet (Wu, Peng and Yu 2023), run by OpenCV.

    The picture is scaled down until its longer side has at most `size` pixels. YuNet finds faces from about 10
    to 300 pixels high, so a larger `size` finds smaller faces, at a cost that grows with its square.
    `confidence` is the lowest score of a face; boxes that overlap by more than `overlap` (IoU) are one face.
    Boxes and landmarks are in source pixels, the one class is "face".

    Raises `ConfigError` for a number out of range, `ModelError` for a model that is not there or not YuNet.

    >>> DetectFaces(size=1280).size
    1280
    """

    model: str = "yunet"
    size: int = 640
    confidence: float = 0.7
    overlap: float = 0.3
    _network: Any = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("size", self.size >= _SMALLEST, f"a number of pixels from {_SMALLEST}")
        self.require("confidence", 0 <= self.confidence <= 1, "a score from 0 to 1")
        self.require("overlap", 0 < self.overlap <= 1, "an overlap above 0 and up to 1")

    def setup(self) -> None:
        import cv2

        path, blank = resolve(self.model), np.zeros((_SMALLEST, _SMALLEST, 3), np.uint8)
        try:
            with _only_errors_told():
                self._network = cv2.FaceDetectorYN.create(
                    str(path), "", (_SMALLEST, _SMALLEST), self.confidence, self.overlap, _MOST
                )
            self._rows(blank)
        except cv2.error as error:
            raise ModelError(
                f"{self.name}.model: {path.name} is not a YuNet face detector that OpenCV can run: "
                f"face_detection_yunet_2026may.onnx of the OpenCV zoo is one"
            ) from error

    def process(self, frame: Frame, /) -> Faces:
        """The faces in the frame, the surest first."""
        shrink = min(1.0, self.size / max(frame.width, frame.height))
        width, height = max(1, round(frame.width * shrink)), max(1, round(frame.height * shrink))
        x, y, across, down, *points, score = self._rows(frame.bgr(width, height)).T
        looked_at = (0, 0, width, height)
        boxes = scaled(np.stack([x, y, x + across, y + down], axis=1), looked_at, frame.region)
        landmarks = _moved(np.stack(points, axis=1).reshape(-1, 5, 2), looked_at, frame.region)
        return Faces(
            frame.origin,
            boxes,
            score,
            np.zeros(len(score), np.int32),
            ("face",),
            region=frame.region,
            landmarks=landmarks,
        )

    def _rows(self, image: Image) -> NDArray[np.float32]:
        """K x 15: x, y, width, height, five points, score."""
        self._network.setInputSize((image.shape[1], image.shape[0]))
        rows = self._network.detect(image)[1]
        return np.empty((0, 15), np.float32) if rows is None else np.asarray(rows, np.float32)


@dataclass
class EmbedFaces(Operator[tuple[Frame, Faces], Faces]):
    """Give each face its embedding: N x D float32 of unit length, alike for pictures of one person.

    Each face is turned, scaled and moved until its five landmarks lie where the network is used to find them
    (a 112 x 112 picture, InsightFace's template), and all faces of the frames that wait go through the network
    together. `model` is a network of InsightFace's convention: 1 x 3 x 112 x 112 RGB in -1..1 in, 1 x D out,
    such as MobileFaceNet. The cosine of two faces is the product of their embeddings.

    Raises `ModelError` for a model that is not there or of another kind, `ConfigError` for faces without five
    landmarks.

    >>> EmbedFaces("mobilefacenet").name
    'EmbedFaces'
    """

    batch: ClassVar[int] = 4

    model: str = "mobilefacenet"
    engine: Literal["openvino", "onnxruntime"] = "openvino"
    _network: Model = field(init=False, repr=False, compare=False)

    def setup(self) -> None:
        path = resolve(self.model)
        try:
            self._network = _loaded(path, self.engine)
        except ModelError as error:
            raise ModelError(f"{self.name}.model: {path.name} cannot embed faces: {error}") from error
        taken, given = self._network.input_size, self._network.output_shape
        if taken != (_SIDE, _SIDE) or len(given) != 1:
            raise ModelError(
                f"{self.name}.model: {path.name} cannot embed faces: it makes {_by(given)} numbers of a "
                f"picture of {_by(taken)} pixels, and one row of numbers of {_SIDE} x {_SIDE} is needed"
            )
        list(self._network.outputs([np.zeros((_SIDE, _SIDE, 3), np.uint8)]))  # the first run allocates

    def process(self, pair: tuple[Frame, Faces], /) -> Faces:
        """The frame's faces with their embeddings."""
        return self.process_batch([pair])[0]

    def process_batch(self, pairs: Sequence[tuple[Frame, Faces]], /) -> list[Faces]:
        """The faces of each frame with their embeddings."""
        crops = (crop for frame, faces in pairs for crop in self._aligned(frame, faces))
        rows = np.array(list(self._network.outputs(crops)), np.float32).reshape(-1, *self._network.output_shape)
        rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.float32(1e-12))
        ends = np.cumsum([len(faces) for _, faces in pairs])
        shares = np.split(rows, ends[:-1])
        return [replace(faces, embeddings=share) for (_, faces), share in zip(pairs, shares, strict=True)]

    def _aligned(self, frame: Frame, faces: Faces) -> Iterator[Image]:
        """Each face as the network is used to see it, 112 x 112 x 3."""
        if not len(faces):
            return
        if faces.landmarks.shape[1] != len(_TEMPLATE):
            raise ConfigError(f"{self.name}: the faces come without landmarks: put DetectFaces() before it")
        import cv2

        whole = (0, 0, frame.width, frame.height)
        for matrix in alignments(_moved(faces.landmarks, frame.region, whole)):
            yield np.asarray(cv2.warpAffine(frame.image, matrix, (_SIDE, _SIDE)), np.uint8)


def _loaded(path: Path, engine: Engine) -> Model:
    try:
        return load(path, engine, normalise=_INSIGHTFACE)
    except ModelError:  # perhaps it leaves the size of its pictures open
        return load(path, engine, _SIDE, normalise=_INSIGHTFACE)


def alignments(landmarks: NDArray[np.float32]) -> NDArray[np.float64]:
    """The N x 2 x 3 matrices that bring N x 5 x 2 landmarks (pixels) nearest to InsightFace's template.

    Each is the similarity (turn, one scale, move; no mirroring) with the least sum of squared distances. With
    points as complex numbers, z those of the face and w those of the template, it is w = a z + b where
    a = sum(conj(z - mean z) (w - mean w)) / sum(|z - mean z|^2) and b = mean w - a mean z: Umeyama (1991),
    equations 40 to 42, for two dimensions.

    >>> twice = (_TEMPLATE * 2 + 10)[None].astype(np.float32)
    >>> np.allclose(alignments(twice), [[0.5, 0, -5], [0, 0.5, -5]], atol=1e-5)
    True
    """
    z, w = landmarks[..., 0] + 1j * landmarks[..., 1], _TEMPLATE[:, 0] + 1j * _TEMPLATE[:, 1]
    middle = z.mean(axis=1, keepdims=True)
    extent = np.maximum((np.abs(z - middle) ** 2).sum(axis=1), 1e-12)
    turn = (np.conj(z - middle) * (w - w.mean())).sum(axis=1) / extent
    move = w.mean() - turn * middle[:, 0]
    rows = [np.stack([turn.real, -turn.imag, move.real], 1), np.stack([turn.imag, turn.real, move.imag], 1)]
    return np.stack(rows, axis=1)


def _moved(points: NDArray[np.float32], old: Rect, new: Rect) -> NDArray[np.float32]:
    """Points N x P x 2 moved from the coordinates of rectangle `old` to those of `new`."""
    flat = points.reshape(-1, 2)
    return scaled(np.concatenate([flat, flat], axis=1), old, new)[:, :2].reshape(points.shape)


def _by(shape: Sequence[int]) -> str:
    return " x ".join(str(length) for length in shape)


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
