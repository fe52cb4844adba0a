"""Detect: objects in frames by a YOLO network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from flowedge import ConfigError, Detections, Frame, Operator
from flowedge.graph.knobs import suggestion
from flowedge.inference.engines import Model, load
from flowedge.inference.models import resolve
from flowedge.inference.yolo import Letterbox, fit, nms, pad


@dataclass
class Detect(Operator[Frame, Detections]):
    """Find objects with a YOLO network: v8, 11 (output 84 x N) or YOLOX, as ONNX or `.pt`.

    `model` is a path or a name that `flowedge models list` knows. `classes` keeps only these names. Boxes of
    one class that overlap by more than `overlap` (IoU) are one object. `size` is the network's input in
    pixels, where the model leaves it open or comes in several. `precision="f32"` forbids the engine to compute
    in fewer bits than the model has.

    Frames that wait together (of several cameras, tiles of a frame, a file) are worked on at the same time,
    one core each; a frame alone gets all cores.

    Raises `ConfigError` for a class that the model does not know, `ModelError` for a model that is not there
    or of another kind.

    >>> Detect("yolo11n", classes=("person",), confidence=0.4).confidence
    0.4
    """

    batch: ClassVar[int] = 4  # enough for two cores to overlap; more only makes the first frame wait

    model: str
    classes: Sequence[str] = ()
    confidence: float = 0.25
    overlap: float = 0.7
    size: int | None = None
    engine: Literal["openvino", "onnxruntime"] = "openvino"
    precision: Literal["f32"] | None = None
    _model: Model = field(init=False, repr=False, compare=False)
    _wanted: NDArray[np.intp] = field(init=False, repr=False, compare=False)
    _canvases: list[NDArray[np.uint8]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("confidence", 0 <= self.confidence <= 1, "a score from 0 to 1")
        self.require("overlap", 0 < self.overlap <= 1, "an overlap above 0 and up to 1")
        self.require("size", self.size is None or self.size > 0, "a number of pixels above 0")

    def setup(self) -> None:
        self._model = load(resolve(self.model, self.size), self.engine, self.size, self.precision)
        self._wanted = np.array([self._class_index(name) for name in self.classes], np.intp)
        self._canvases = [np.empty((*self._model.input_size, 3), np.uint8) for _ in range(self.batch)]
        list(self._model.outputs(self._canvases[:1]))  # the first run allocates: not on a frame's time

    def process(self, frame: Frame, /) -> Detections:
        return self.process_batch([frame])[0]

    def process_batch(self, frames: Sequence[Frame], /) -> list[Detections]:
        height, width = self._model.input_size
        places = [fit(frame.width, frame.height, width, height, self._model.family.centred) for frame in frames]
        inputs = (
            pad(frame.bgr(place.new_w, place.new_h), place, canvas)
            for frame, place, canvas in zip(frames, places, self._canvases, strict=False)
        )
        outputs = self._model.outputs(inputs)
        return [self._detections(*row) for row in zip(frames, places, outputs, strict=True)]

    def _detections(self, frame: Frame, place: Letterbox, output: NDArray[np.float32]) -> Detections:
        boxes, scores, classes = self._model.family.decode(output, self.confidence, self._model.input_size)
        if len(self._wanted):
            wanted = np.isin(classes, self._wanted)
            boxes, scores, classes = boxes[wanted], scores[wanted], classes[wanted]
        kept = nms(boxes, scores, classes, self.overlap)
        in_source = frame.to_source(place.to_source(boxes[kept]))
        return Detections(
            frame.origin,
            in_source,
            scores[kept],
            classes[kept].astype(np.int32),
            self._model.names,
            region=frame.region,
        )

    def _class_index(self, name: str) -> int:
        if name not in self._model.names:
            near = suggestion(name, self._model.names)
            raise ConfigError(f"{self.name}.classes: the model {self.model} has no class {name!r}{near}")
        return self._model.names.index(name)
