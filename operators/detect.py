"""Detect: objects in frames by a YOLO network."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from flowedge import ConfigError, Detections, Frame, Operator
from flowedge.graph.knobs import suggestion
from flowedge.graph.per_camera import all_hold, of_camera, required, values
from flowedge.inference.detector import Detector
from flowedge.inference.models import resolve
from flowedge.inference.yolo import Candidates, Letterbox, nms, pad

log = logging.getLogger("flowedge.detect")

_CONFIDENCE = 0.25

_OTHERS = ""
"""In place of a camera's name: those that no setting names."""


@dataclass(frozen=True, eq=False)
class _Network:
    """A loaded model, and a picture of its input's size for each frame of a batch."""

    detector: Detector
    canvases: Sequence[NDArray[np.uint8]]

    def look(self, frames: Sequence[Frame]) -> Iterator[tuple[Letterbox, Candidates]]:
        """Where each frame lies in the input, and what is found in it."""
        places = [self.detector.place(frame.width, frame.height) for frame in frames]
        inputs = (
            pad(frame.bgr(place.new_w, place.new_h), place, canvas)
            for frame, place, canvas in zip(frames, places, self.canvases, strict=False)
        )
        return zip(places, self.detector.detect(inputs), strict=True)


@dataclass(frozen=True, eq=False)
class _View:
    """How the frames of a camera are looked at: `wanted` are indices of classes, all if there are none."""

    network: _Network
    wanted: NDArray[np.intp]
    confidence: float


@dataclass
class Detect(Operator[Frame, Detections]):
    """Find objects with a network of one of the kinds that `flowedge.inference.heads` lists, as ONNX or `.pt`.

    `model` is a path or a name that `flowedge models list` knows. `classes` keeps only these names. These and
    `confidence` may be mappings by camera name; every model is loaded once. Boxes of
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
    >>> Detect("yolo11n", confidence={"north": 0.3, "south": 0.5}).per_camera
    ('model', 'classes', 'confidence')
    """

    per_camera = ("model", "classes", "confidence")
    batch: ClassVar[int] = 4  # enough for two cores to overlap; more only makes the first frame wait

    model: str | Mapping[str, str]
    classes: Sequence[str] | Mapping[str, Sequence[str]] = ()
    confidence: float | Mapping[str, float] = _CONFIDENCE
    overlap: float = 0.7
    size: int | None = None
    most: int = 3000
    engine: Literal["openvino", "onnxruntime"] = "openvino"
    precision: Literal["f32"] | None = None
    cut: dict[str, int] = field(init=False, repr=False, compare=False, default_factory=dict)
    _networks: dict[str, _Network] = field(init=False, repr=False, compare=False)
    _views: dict[str, _View] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(
            "confidence", all_hold(self.confidence, lambda score: 0 <= score <= 1), "a score from 0 to 1"
        )
        self.require("overlap", 0 < self.overlap <= 1, "an overlap above 0 and up to 1")
        self.require("size", self.size is None or self.size > 0, "a number of pixels above 0")
        self.require("most", self.most > 0, "a number of objects above 0")

    def setup(self) -> None:
        self._networks = {model: self._network(model) for model in dict.fromkeys(values(self.model))}
        settings = [getattr(self, name) for name in self.per_camera]
        named = {camera for setting in settings if isinstance(setting, Mapping) for camera in setting}
        # Now, not on a camera's first frame: a class that the model does not know is said before any comes.
        known = named & set(self.model) if isinstance(self.model, Mapping) else {*named, _OTHERS}
        self._views = {camera: self._view(camera) for camera in known}

    def process(self, frame: Frame, /) -> Detections:
        return self.process_batch([frame])[0]

    def process_batch(self, frames: Sequence[Frame], /) -> list[Detections]:
        views = [self._view_of(frame.origin.camera) for frame in frames]
        found: dict[int, Detections] = {}
        for network in dict.fromkeys(view.network for view in views):
            rows = [row for row, view in enumerate(views) if view.network is network]
            objects = network.look([frames[row] for row in rows])
            for row, (place, candidates) in zip(rows, objects, strict=True):
                found[row] = self._detections(frames[row], views[row], place, candidates)
        return [found[row] for row in range(len(frames))]

    def _network(self, model: str) -> _Network:
        others = (_CONFIDENCE,) if isinstance(self.confidence, Mapping) else ()  # cameras that it does not name
        least = min((*values(self.confidence), *others))
        detector = Detector(resolve(model, self.size), self.engine, self.size, self.precision, least)
        return _Network(detector, [np.empty((*detector.input_size, 3), np.uint8) for _ in range(self.batch)])

    def _view(self, camera: str) -> _View:
        model = required(self.model, camera, f"{self.name}.model")
        names = self._networks[model].detector.names
        classes = of_camera(self.classes, camera, ())
        wanted = np.array([self._class_index(name, model, names) for name in classes], np.intp)
        return _View(self._networks[model], wanted, of_camera(self.confidence, camera, _CONFIDENCE))

    def _view_of(self, camera: str) -> _View:
        view = self._views.get(camera) or self._views.get(_OTHERS)
        return view or self._view(camera)

    def _detections(self, frame: Frame, view: _View, place: Letterbox, candidates: Candidates) -> Detections:
        boxes, scores, classes = candidates
        detector = view.network.detector
        if view.confidence > detector.confidence:
            sure = scores >= view.confidence
            boxes, scores, classes = boxes[sure], scores[sure], classes[sure]
        if len(view.wanted):
            wanted = np.isin(classes, view.wanted)
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
            detector.names,
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

    def _class_index(self, name: str, model: str, names: Sequence[str]) -> int:
        if name not in names:
            near = suggestion(name, names)
            raise ConfigError(f"{self.name}.classes: the model {model} has no class {name!r}{near}")
        return names.index(name)
