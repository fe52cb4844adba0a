"""Detect: objects in frames by a YOLO network."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from flowedge import ConfigError, Detections, Frame, Operator
from flowedge.graph.knobs import suggestion
from flowedge.inference.detector import Detector
from flowedge.inference.models import resolve
from flowedge.inference.yolo import Candidates, Letterbox, nms, pad

log = logging.getLogger("flowedge.detect")


@dataclass
class Detect(Operator[Frame, Detections]):
    """Find objects with a network of one of the kinds that `flowedge.inference.heads` lists, as ONNX or `.pt`.

    `model` is a path or a name that `flowedge models list` knows. `classes` keeps only these names. Boxes of
    one class that overlap by more than `overlap` (IoU) are one object. `size` is the network's input in
    pixels, where the model leaves it open or comes in several. `precision="f32"` forbids the engine to compute
    in fewer bits than the model has.

    At most `most` objects of a frame are kept, the surest ones. Frames that had more are counted in `cut`,
    and the first of a camera is said in the log. Telling doubles apart takes about 30 ms for 1000 objects
    that do not overlap and 200 ms for 3000, for the time grows with their square.

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
    most: int = 3000
    engine: Literal["openvino", "onnxruntime"] = "openvino"
    precision: Literal["f32"] | None = None
    cut: dict[str, int] = field(init=False, repr=False, compare=False, default_factory=dict)
    _detector: Detector = field(init=False, repr=False, compare=False)
    _wanted: NDArray[np.intp] = field(init=False, repr=False, compare=False)
    _canvases: list[NDArray[np.uint8]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("confidence", 0 <= self.confidence <= 1, "a score from 0 to 1")
        self.require("overlap", 0 < self.overlap <= 1, "an overlap above 0 and up to 1")
        self.require("size", self.size is None or self.size > 0, "a number of pixels above 0")

        self.require("most", self.most > 0, "a number of objects above 0")

    def setup(self) -> None:
        self._detector = Detector(
            resolve(self.model, self.size), self.engine, self.size, self.precision, self.confidence
        )
        self._wanted = np.array([self._class_index(name) for name in self.classes], np.intp)
        self._canvases = [np.empty((*self._detector.input_size, 3), np.uint8) for _ in range(self.batch)]

    def process(self, frame: Frame, /) -> Detections:
        return self.process_batch([frame])[0]

    def process_batch(self, frames: Sequence[Frame], /) -> list[Detections]:
        places = [self._detector.place(frame.width, frame.height) for frame in frames]
        inputs = (
            pad(frame.bgr(place.new_w, place.new_h), place, canvas)
            for frame, place, canvas in zip(frames, places, self._canvases, strict=False)
        )
        found = self._detector.detect(inputs)
        return [self._detections(*row) for row in zip(frames, places, found, strict=True)]

    def _detections(self, frame: Frame, place: Letterbox, candidates: Candidates) -> Detections:
        boxes, scores, classes = candidates
        if len(self._wanted):
            wanted = np.isin(classes, self._wanted)
            boxes, scores, classes = boxes[wanted], scores[wanted], classes[wanted]
        # Clipped first: what lies wholly beside the picture is no object, and takes nobody's place.
        boxes = place.to_source(boxes)
        kept = nms(boxes, scores, classes, self.overlap)
        if len(kept) > self.most:
            self._note_cut(frame.origin.camera, len(kept))
            kept = kept[: self.most]
        in_source = frame.to_source(boxes[kept])
        return Detections(
            frame.origin,
            in_source,
            scores[kept],
            classes[kept].astype(np.int32),
            self._detector.names,
            region=frame.region,
        )

    def notes(self) -> Mapping[str, int]:
        """Frames of which objects were left out, by camera."""
        return {
            f"frames of {camera} of which only the {self.most} surest objects were kept": count
            for camera, count in list(self.cut.items())
        }

    def _note_cut(self, camera: str, count: int) -> None:
        if camera not in self.cut:
            log.warning(
                "%s: %d objects in a frame of camera %s, of which the %d surest are kept: raise `most` or "
                "`confidence`",
                self.name,
                count,
                camera,
                self.most,
            )
        self.cut[camera] = self.cut.get(camera, 0) + 1

    def _class_index(self, name: str) -> int:
        if name not in self._detector.names:
            near = suggestion(name, self._detector.names)
            raise ConfigError(f"{self.name}.classes: the model {self.model} has no class {name!r}{near}")
        return self._detector.names.index(name)
