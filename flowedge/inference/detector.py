"""A detector: a network, how its output is read, and the names of its classes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from flowedge.inference.engines import Engine, Output, load
from flowedge.inference.head import Head
from flowedge.inference.heads import identify, join_outputs, usual
from flowedge.inference.models import ModelError
from flowedge.inference.yolo import COCO_NAMES, GREY, Candidates, Letterbox


class Detector:
    """A network whose head is identified when it is loaded, or from the first pictures with objects.

    A list of objects that is empty for the blank picture tried at loading does not show what its columns mean:
    then `head` is None, and there are no detections, until an object comes that could score `confidence`.

    Raises ModelError where the file cannot be loaded or its output is not understood.

    >>> Detector(Path("yolo11n.onnx"))  # doctest: +SKIP
    """

    def __init__(
        self,
        path: Path,
        engine: Engine = "openvino",
        size: int | None = None,
        precision: Literal["f32"] | None = None,
        confidence: float = 0.25,
    ) -> None:
        self._model = load(path, engine, size, precision)
        self.input_size = self._model.input_size
        self.confidence = confidence
        self.head: Head | None = None
        self._model.feed(usual(self._model.output_shape, self.input_size))
        blank = np.full((*self.input_size, 3), GREY, np.uint8)
        self._settle(next(self._model.all_outputs([blank])))
        if self.head and self.head.normalise != self._model.normalise:
            self._model.feed(self.head.normalise)
            next(self._model.all_outputs([blank]))  # compiled now: not on a frame's time

    @property
    def names(self) -> tuple[str, ...]:
        """The class names by number: the file's own, else COCO's if there are 80, else "class 0", ...

        Empty where neither the file nor the head says how many classes there are.
        """
        if (own := self._model.names) is not None:
            return own
        count = self.head.classes if self.head else 0
        return COCO_NAMES if count == len(COCO_NAMES) else tuple(f"class {index}" for index in range(count))

    def place(self, width: int, height: int) -> Letterbox:
        """Where a picture of width x height pixels goes in the input."""
        head = self.head or Head("not known yet", "corners")
        return head.place(width, height, self.input_size)

    def detect(self, images: Iterable[NDArray[np.uint8]]) -> Iterator[Candidates]:
        """The objects in each picture, in their order: xyxy boxes in pixels of the input, scores, classes.

        Raises ModelError where an output shows that it is of another kind than it seemed.
        """
        for outputs in self._model.all_outputs(images):
            if self.head is None:
                self._settle(outputs)
            try:
                yield self._read(outputs)
            except ModelError as error:
                raise ModelError(f"{self._model.path.name}: {error}") from None

    def _settle(self, outputs: list[Output]) -> None:
        own = self._model.names
        names = None if own is None else len(own)
        try:
            self.head = identify(outputs, self._model.output_names, self.input_size, names, self.confidence)
        except ModelError as error:
            raise ModelError(f"{self._model.path.name}: {error}") from None

    def _read(self, outputs: list[Output]) -> Candidates:
        if self.head is None:
            return np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty(0, np.int64)
        raw = join_outputs(outputs, self._model.output_names, self.input_size)
        return self.head.read(raw, self.confidence, self.input_size)
