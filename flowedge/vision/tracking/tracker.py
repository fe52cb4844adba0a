"""One camera's tracks: detections of a frame in, the same with identities out.

Every detection, weak ones too, takes part in one assignment to the confirmed tracks, by resemblance of boxes
times score. ByteTrack (Zhang et al. 2022) keeps weak detections because a person half hidden is still detected,
only with a low score; it needs two rounds of assignment, where the score as a factor needs one. Tracks that
were seen only once are assigned to the detections that remain, and those that remain then begin new tracks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowedge.errors import StateError
from flowedge.state.plain import copied, first_identity, from_origin, integers, item, table, to_origin
from flowedge.values import Detections, Frame, Origin, Rect, Tracks
from flowedge.vision.nms import suppress
from flowedge.vision.overlap import overlaps
from flowedge.vision.tracking.appearance import Appearance, unit
from flowedge.vision.tracking.association import assign, resemblance, to_centres, to_corners
from flowedge.vision.tracking.camera_motion import CameraMotion
from flowedge.vision.tracking.kalman import Motion, Noise

_NOMINAL = 1 / 25  # seconds between frames whose origins carry no time at all
_HIDDEN = 0.5  # share of a box that lies in regions nobody looked at, from which on it cannot be seen
_MEMORY = 0.9  # share of what a track looked like that one more look leaves (BoT-SORT, equation 12)

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Rows = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class TrackerSettings:
    """When a detection belongs to a track.

    Detections below the score `low` do not count, those from `high` on can confirm a track, and a track begins
    with one from `new` on that overlaps neither a detection of another track nor a better one that begins a
    track by `double` (IoU, whatever the classes) or more. `match` is the least resemblance times score for
    confirmed tracks, `match_new` for those that were seen once. A track is kept for `patience` seconds in
    which it should have been seen; after `blind` seconds without any frame all tracks are over. `smooth` gives
    the filtered box, cut to the picture, instead of the detection's. `look` is the least cosine at which two
    pictures may show one object. The values were chosen on the clips that `tools.bench.trackers` names, whole
    and at lower frame rates, and on synthetic streets.
    """

    high: float = 0.3
    low: float = 0.1
    new: float = 0.55
    double: float = 0.5
    match: float = 0.09
    match_new: float = 0.2
    patience: float = 2.0
    blind: float = 10.0
    smooth: bool = False
    look: float = 0.8
    noise: Noise = field(default_factory=Noise)


class Tracker:
    """The tracks of one camera, or of one tile of one.

    With `appearance` and `camera_motion` it also needs the frame's picture.

    >>> tracker = Tracker()
    >>> for index in range(3):
    ...     origin = Origin("north", index=index, media=index / 25)
    ...     tracks = tracker.update(Detections(origin, [[index, 0, 20 + index, 50]], [0.9], [0]))
    >>> tracks.ids
    array([1])
    """

    _motion: Motion
    _ids: NDArray[np.int64]  # 0 for tracks that were seen once
    _classes: NDArray[np.int32]
    _unseen: Floats  # seconds since the last match, without the time out of sight
    _seen_as: Floats  # what each track looks like, N x D; D is 0 without a network

    def __init__(
        self,
        settings: TrackerSettings = TrackerSettings(),
        appearance: Appearance | None = None,
        camera_motion: CameraMotion | None = None,
    ) -> None:
        self.settings = settings
        self._appearance = appearance
        self._camera_motion = camera_motion
        self._next = 1
        self._last: Origin | None = None
        self._size = (0, 0)  # of the camera's picture, as far as it was told
        self._forget()

    def update(self, detections: Detections, frame: Frame | None = None) -> Tracks:
        """The confirmed tracks that are seen in this frame; identities count from 1 and never return.

        Frames must come in order; some may be missing. A track is confirmed when it is seen twice, those of
        the first frame at once. A picture of another size than the last shows the same scene, and tracks are
        scaled with it.
        """
        settings = self.settings
        first = self._last is None
        seconds = self._advance(detections.origin, frame)

        usable = np.flatnonzero(detections.scores >= settings.low)
        boxes = detections.boxes[usable].astype(np.float64)
        scores, classes = detections.scores[usable], detections.classes[usable]
        looks = self._looks(frame, boxes, scores)
        predicted = to_corners(self._motion.position)
        track_of = self._matched(predicted, boxes, scores, classes, looks)

        matched = np.flatnonzero(track_of >= 0)
        rows = track_of[matched]
        self._motion.update(rows, to_centres(boxes[matched]), settings.noise)
        self._remember(rows, looks[matched])
        kept = self._aged(rows, _hidden(predicted, detections.missing), seconds)
        self._confirm(rows)
        ids = np.zeros(len(usable), np.int64)
        ids[matched] = self._ids[rows]
        given = detections.boxes[usable]
        if settings.smooth and len(matched):
            given[matched] = _inside(to_corners(self._motion.position[rows]), detections)
        born = self._born(boxes, scores, track_of)
        if len(born) or not kept.all():
            ids[born] = self._replace(kept, boxes[born], classes[born], looks[born], confirmed=first)
        return _identified(detections, usable, given, ids)

    def _advance(self, origin: Origin, frame: Frame | None) -> float:
        """Predict the tracks at the time of this frame; returns the seconds since the last one."""
        settings = self.settings
        seconds = 0.0 if self._last is None else elapsed(self._last, origin)
        self._resize(origin)
        self._last = origin
        if seconds > settings.blind:
            self._forget()
        self._motion.predict(seconds, settings.noise)
        if self._camera_motion is not None and frame is not None:
            self._motion.shift(self._camera_motion.between(frame))
        return seconds

    def snapshot(self) -> dict[str, Any]:
        """What is known of the tracks, as plain data; a track takes about 200 bytes, and 8 for each of D."""
        return {
            "next": self._next,
            "last": from_origin(self._last),
            "size": list(self._size),
            "ids": self._ids.copy(),
            "classes": self._classes.copy(),
            "unseen": self._unseen.copy(),
            "seen_as": self._seen_as.copy(),
            **copied(self._motion),
            "camera_motion": self._camera_motion.snapshot() if self._camera_motion else None,
        }

    def restore(self, state: Any) -> None:
        """Go on as the tracker whose `snapshot` this is. Raises `StateError` for anything else."""
        following, last = item(state, "next", int), to_origin(item(state, "last", object))
        width, height = integers(state, "size", 2)
        motion = dict.fromkeys(("position", "velocity", "pp", "pv", "vv"), (np.float64, (4,)))
        columns = table(
            state,
            ids=(np.int64, ()),
            classes=(np.int32, ()),
            unseen=(np.float64, ()),
            seen_as=(np.float64, self._seen_as.shape[1:]),
            **motion,
        )
        looked = item(state, "camera_motion", object)
        if (looked is None) != (self._camera_motion is None) or columns["ids"].max(initial=0) >= following:
            raise StateError("it is the state of a tracker with other settings")
        if self._camera_motion is not None:
            self._camera_motion.restore(looked)
        self._next, self._last, self._size = following, last, (width, height)
        self._motion = Motion(*(columns[name] for name in motion))
        self._ids, self._classes = columns["ids"], columns["classes"]
        self._unseen, self._seen_as = columns["unseen"], columns["seen_as"]

    def renumber(self, epoch: int) -> None:
        """Count identities on from the first of `epoch` (`first_identity`): some below may be given already."""
        self._next = first_identity(self._next, epoch)

    def _matched(
        self,
        predicted: Floats,
        boxes: Floats,
        scores: NDArray[np.float32],
        classes: NDArray[np.int32],
        looks: Floats,
    ) -> Rows:
        """The track of each detection, -1 for none."""
        settings = self.settings
        track_of = np.full(len(boxes), -1)
        if not len(boxes) or not len(predicted):
            return track_of
        same = self._classes[:, None] == classes
        fit = resemblance(predicted, boxes) * scores * same
        confirmed = self._ids > 0
        self._match(fit, confirmed, scores >= settings.low, track_of, settings.match)
        if looks.shape[1]:
            alike = self._seen_as @ looks.T * same * self._reachable(predicted, boxes)
            self._match(alike, confirmed, scores >= settings.high, track_of, settings.look)
        self._match(fit, ~confirmed, scores >= settings.high, track_of, settings.match_new)
        return track_of

    def _match(self, similarity: Floats, tracks: Mask, detections: Mask, track_of: Rows, least: float) -> None:
        """Assign detections that are still free to tracks that are still free, writing into `track_of`."""
        free = tracks.copy()
        free[track_of[track_of >= 0]] = False
        rows, columns = np.flatnonzero(free), np.flatnonzero(detections & (track_of < 0))
        if len(rows) and len(columns):
            of_row, of_column = assign(similarity[np.ix_(rows, columns)], least)
            track_of[columns[of_column]] = rows[of_row]

    def _aged(self, rows: Rows, hidden: Mask, seconds: float) -> Mask:
        """Count the time for which tracks were not seen; returns which of them go on."""
        unseen = np.ones(len(self._ids), bool)
        unseen[rows] = False
        self._unseen[rows] = 0.0
        self._unseen[unseen & ~hidden] += seconds
        once = self._ids == 0
        return np.asarray((self._unseen <= self.settings.patience) & ~(once & unseen & ~hidden))

    def _confirm(self, rows: Rows) -> None:
        """Give identities to the tracks that are seen for the second time."""
        nameless = rows[self._ids[rows] == 0]
        self._ids[nameless] = self._new_ids(len(nameless))

    def _born(self, boxes: Floats, scores: NDArray[np.float32], track_of: Rows) -> Rows:
        """Detections that begin a track: confident, free, and no double of one that has a track or begins one.

        TrackTrack (Shim et al. 2025) calls that track-aware initialization.
        """
        born = np.flatnonzero((track_of < 0) & (scores >= self.settings.new))
        taken = boxes[track_of >= 0]
        if len(born) and len(taken):
            born = born[overlaps(boxes[born], taken).max(axis=1) < self.settings.double]
        if len(born) > 1:
            any_class = np.zeros(len(born), np.int32)
            born = born[np.sort(suppress(boxes[born], scores[born], any_class, self.settings.double))]
        return born

    def _replace(
        self, kept: Mask, boxes: Floats, classes: NDArray[np.int32], looks: Floats, *, confirmed: bool
    ) -> NDArray[np.int64]:
        """Drop the tracks that are over and begin new ones; returns the identities of those, 0 for not yet."""
        count = len(boxes)
        ids = self._new_ids(count) if confirmed else np.zeros(count, np.int64)
        born = Motion.begin(to_centres(boxes), self.settings.noise)
        self._motion = self._motion.select(kept).extend(born)
        self._ids = np.concatenate([self._ids[kept], ids])
        self._classes = np.concatenate([self._classes[kept], classes])
        self._unseen = np.concatenate([self._unseen[kept], np.zeros(count)])
        self._seen_as = np.concatenate([self._seen_as[kept], looks])
        return ids

    def _new_ids(self, count: int) -> NDArray[np.int64]:
        self._next += count
        return np.arange(self._next - count, self._next)

    def _looks(self, frame: Frame | None, boxes: Floats, scores: NDArray[np.float32]) -> Floats:
        """What each detection looks like, N x D; zeros for weak ones, half hidden by somebody else."""
        looks = np.zeros((len(boxes), self._seen_as.shape[1]))
        strong = np.flatnonzero(scores >= self.settings.high)
        if self._appearance is not None and frame is not None and len(strong):
            looks[strong] = self._appearance.vectors(frame, boxes[strong])
        return looks

    def _remember(self, rows: Rows, looks: Floats) -> None:
        if looks.shape[1] and len(rows):
            self._seen_as[rows] = unit(_MEMORY * self._seen_as[rows] + (1 - _MEMORY) * looks)

    def _reachable(self, predicted: Floats, boxes: Floats) -> Mask:
        """Where each track can have got, N x M: within three deviations of what is predicted, and its size."""
        apart = np.abs(to_centres(predicted)[:, None, :2] - to_centres(boxes)[None, :, :2])
        reach = 3 * np.sqrt(self._motion.pp[:, None, :2]) + self._motion.position[:, None, 2:] / 2
        return np.asarray((apart <= reach).all(axis=2))

    def _resize(self, origin: Origin) -> None:
        """Bring what is believed into the pixels of this frame's source."""
        size = origin.width, origin.height
        if size != self._size and min(size) > 0:
            self._motion.scale(*growth(self._size, size))
            self._size = size

    def _forget(self) -> None:
        self._motion = Motion.begin(np.empty((0, 4)), self.settings.noise)
        self._ids = np.empty(0, np.int64)
        self._classes = np.empty(0, np.int32)
        self._unseen = np.empty(0)
        self._seen_as = np.empty((0, self._appearance.width if self._appearance else 0))


def elapsed(before: Origin, after: Origin) -> float:
    """Seconds between two frames of a camera, from the best clock that both carry.

    Within a session that is the stream's own clock. Over a reconnect it is this machine's monotonic clock, then
    the wall clock. Frames without any time count as 1/25 s each.

    >>> elapsed(Origin("north", media=1.0), Origin("north", index=1, media=1.5))
    0.5
    """
    media = after.media - before.media
    wall = after.time - before.time
    monotonic = after.monotonic - before.monotonic
    clocks = (media, wall, monotonic) if after.session == before.session else (monotonic, wall)
    return next((gap for gap in clocks if gap > 0), max(0, after.index - before.index) * _NOMINAL)


def growth(before: tuple[int, int], after: tuple[int, int]) -> tuple[float, float]:
    """How many times wider and higher a camera's picture has become; 1 where a size, in pixels, is not known.

    >>> growth((1920, 1080), (960, 540)), growth((0, 0), (960, 540))
    ((0.5, 0.5), (1.0, 1.0))
    """
    both_known = min(*before, *after) > 0
    return (after[0] / before[0], after[1] / before[1]) if both_known else (1.0, 1.0)


def _identified(
    detections: Detections, usable: Rows, boxes: NDArray[np.float32], ids: NDArray[np.int64]
) -> Tracks:
    """The detections in rows `usable` that have an identity (`ids` above 0), with their new boxes."""
    shown = np.flatnonzero(ids)
    rows = usable[shown]
    return Tracks(
        detections.origin,
        boxes[shown],
        detections.scores[rows],
        detections.classes[rows],
        detections.names,
        detections.missing,
        detections.region,
        attributes={name: column[rows] for name, column in detections.attributes.items()},
        ids=ids[shown],
    )


def _hidden(boxes: Floats, missing: tuple[Rect, ...]) -> Mask:
    """Which boxes lie mostly in regions that nobody looked at."""
    hidden = np.zeros(len(boxes))
    for rect in missing:
        sides = np.minimum(boxes[:, 2:], rect[2:]) - np.maximum(boxes[:, :2], rect[:2])
        areas = np.maximum((boxes[:, 2:] - boxes[:, :2]).prod(axis=1), 1e-9)
        hidden += np.maximum(sides, 0.0).prod(axis=1) / areas
    return hidden > _HIDDEN


def _inside(boxes: Floats, detections: Detections) -> Floats:
    """Boxes cut to the part of the source that was looked at, as far as that is known."""
    x1, y1, x2, y2 = detections.region or (0, 0, detections.origin.width, detections.origin.height)
    return boxes.clip([x1, y1] * 2, [x2, y2] * 2) if x2 > x1 and y2 > y1 else boxes
