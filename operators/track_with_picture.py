"""Tracking that also looks at the picture: camera motion and appearance."""

from __future__ import annotations

from dataclasses import dataclass, field

from flowedge import Detections, Frame, Tracks
from flowedge.inference.engines import Model, load
from flowedge.inference.models import resolve
from flowedge.inference.yolo import IMAGENET
from flowedge.operators.track import Tracking
from flowedge.vision.tracking.appearance import Appearance
from flowedge.vision.tracking.camera_motion import CameraMotion
from flowedge.vision.tracking.tracker import Tracker, TrackerSettings


@dataclass
class TrackWithPicture(Tracking[tuple[Frame, Detections]]):
    """`Track` that also looks at the picture: `join(frames, found) >> TrackWithPicture()`.

    `appearance` is a re-identification network, a path or a name that `flowedge models list` knows, by which a
    track that was lost is found again; None for none. `camera_motion` corrects for a camera that shakes,
    turns or rides along. Both are used as in BoT-SORT (Aharon et al. 2022). The other fields are those of
    `Track`. Raises `ConfigError` as it does, and `ModelError` for a network that is not there.

    >>> TrackWithPicture(appearance=None).camera_motion
    True
    """

    appearance: str | None = "osnet_x0_25"
    camera_motion: bool = True
    _model: Model | None = field(init=False, repr=False, compare=False, default=None)

    def setup(self) -> None:
        super().setup()
        if self.appearance is not None:
            self._model = load(resolve(self.appearance), normalise=IMAGENET)

    def close(self) -> None:
        self._model = None

    def process(self, pair: tuple[Frame, Detections], /) -> Tracks:
        """The tracks that are seen in this frame."""
        frame, detections = pair
        return self._tracker(detections.origin.camera).update(detections, frame)

    def _begin(self, settings: TrackerSettings) -> Tracker:
        appearance = Appearance(self._model) if self._model is not None else None
        return Tracker(settings, appearance, CameraMotion() if self.camera_motion else None)
