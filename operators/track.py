"""Tracking: the detections of a camera's frames get identities."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from flowedge import Detections, Operator, State, Tracks
from flowedge.vision.tracking.association import load_solver
from flowedge.vision.tracking.tracker import Tracker, TrackerSettings

Given = TypeVar("Given", contravariant=True)


@dataclass
class Tracking(Operator[Given, Tracks], Generic[Given]):
    """What `Track` and `TrackWithPicture` share: when a track begins and ends, a `Tracker` for each camera."""

    state = State.PER_CAMERA

    low: float = 0.1
    new: float = 0.55
    patience: float = 2.0
    smooth: bool = True
    _trackers: dict[str, Tracker] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("low", 0 <= self.low <= 1, "a score from 0 to 1")
        self.require("new", self.low <= self.new <= 1, f"a score from {self.low:g} (low) to 1")
        self.require("patience", self.patience >= 0, "a number of seconds from 0")

    def setup(self) -> None:
        load_solver()

    def flush(self, camera: str) -> Iterable[Tracks]:
        """Forget the camera's tracks."""
        self._trackers.pop(camera, None)
        return ()

    def snapshot(self, camera: str) -> dict[str, Any] | None:
        """The camera's tracks."""
        return self._trackers[camera].snapshot() if camera in self._trackers else None

    def restore(self, camera: str, state: Any) -> None:
        """Take over the camera's tracks and their numbering."""
        tracker = self._begun()
        tracker.restore(state)
        self._trackers[camera] = tracker

    def renumber(self, camera: str, epoch: int) -> None:
        """Number new tracks from 1 000 000 times the epoch on."""
        self._tracker(camera).renumber(epoch)

    def _tracker(self, camera: str) -> Tracker:
        if camera not in self._trackers:
            self._trackers[camera] = self._begun()
        return self._trackers[camera]

    def _begun(self) -> Tracker:
        settings = TrackerSettings(low=self.low, new=self.new, patience=self.patience, smooth=self.smooth)
        return self._begin(settings)

    def _begin(self, settings: TrackerSettings) -> Tracker:
        """The tracker of one camera."""
        return Tracker(settings)


@dataclass
class Track(Tracking[Detections]):
    """Follow objects from frame to frame by where they are and how they move; no pixels are looked at.

    Let the detector give weak detections too: `Detect(..., confidence=0.1)`. Those from `low` on prolong
    a track, those from `new` on begin one, and it is given from its second frame on (those of a camera's first
    frame at once). A track that is not seen is kept for `patience` seconds, less the time in which
    its place was `missing`; it survives dropped frames and reconnects of up to 10 s. Classes never mix. With
    `smooth` boxes are the tracker's estimate, else the detector's. Identities count from 1 in each camera, and
    on from 1 000 000 times the epoch where a copy was lost with some that it gave out.

    ByteTrack's use of weak detections with BoT-SORT's motion model, on the clock of the stream instead of
    counted frames. Raises `ConfigError` unless 0 <= low <= new <= 1 and patience >= 0.

    >>> from flowedge.testing import frames, run_operator
    >>> found = [Detections(each.origin, [[0, 0, 9, 20]], [0.9], [0]) for each in frames(2, 320, 240)]
    >>> [tracks.ids.tolist() for tracks in run_operator(Track(), found)]
    [[1], [1]]
    """

    def process(self, detections: Detections, /) -> Tracks:
        """The tracks that are seen in this frame."""
        return self._tracker(detections.origin.camera).update(detections)
