"""Embeddings of faces, which tell one person from another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from flowedge import ConfigError, Faces, Frame, Operator
from flowedge.inference.engines import Engine, Model, load
from flowedge.inference.models import ModelError, resolve
from flowedge.inference.yolo import Normalise
from flowedge.values import Image
from flowedge.vision.faces import SIDE, TEMPLATE, alignments, moved_points

_INSIGHTFACE = Normalise(rgb=True, scale=1 / 127.5, mean=(1.0, 1.0, 1.0))  # -1..1


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
        if taken != (SIDE, SIDE) or len(given) != 1:
            raise ModelError(
                f"{self.name}.model: {path.name} cannot embed faces: it makes {_by(given)} numbers of a "
                f"picture of {_by(taken)} pixels, and one row of numbers of {SIDE} x {SIDE} is needed"
            )
        list(self._network.outputs([np.zeros((SIDE, SIDE, 3), np.uint8)]))  # the first run allocates

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
        if faces.landmarks.shape[1] != len(TEMPLATE):
            raise ConfigError(f"{self.name}: the faces come without landmarks: put DetectFaces() before it")
        import cv2

        whole = (0, 0, frame.width, frame.height)
        for matrix in alignments(moved_points(faces.landmarks, frame.region, whole)):
            yield np.asarray(cv2.warpAffine(frame.image, matrix, (SIDE, SIDE)), np.uint8)


def _loaded(path: Path, engine: Engine) -> Model:
    try:
        return load(path, engine, normalise=_INSIGHTFACE)
    except ModelError:  # perhaps it leaves the size of its pictures open
        return load(path, engine, SIDE, normalise=_INSIGHTFACE)


def _by(shape: Sequence[int]) -> str:
    return " x ".join(str(length) for length in shape)
