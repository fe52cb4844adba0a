"""Objects that cross lines, counted."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowedge import Event, Operator, Origin, State, StateError, Tracks
from flowedge.graph.per_camera import check_names
from flowedge.state.plain import integers, item, table
from flowedge.vision.lines import WANTED, Lines, are_lines, by_camera, lines_of

_REMEMBERED = 1000  # frames for which an object may be out of sight and still count as the same


@dataclass
class CountLines(Operator[Tracks, Event]):
    """Count the tracked objects that cross lines, by direction and class.

    `lines` are x1, y1, x2, y2 by name, in source pixels or, where all four are from 0 to 1, in parts of the
    picture; the same for all cameras, or a mapping of them for each camera. Who looks along a line from its
    first point to its second sees objects that go "in" pass from the left to the right: over a line drawn from
    left to right, "in" is down the picture.

    An object is where its foot point is (the middle of the lower edge of its box). It has crossed when it was
    clear of the line on one side and now is on the other, by `margin` times the height of its box, and went
    between the line's ends: what trembles on the line is not counted, what goes back is counted as going out.

    For each frame there is an event whose data hold the camera's totals since the start: "gate in" and
    "gate out" for a line "gate", and by class "gate in person" and so on, as they come up. Its kind is
    "counts", or "crossing" where something crossed in this frame; then "crossed" says what, for example
    "person #7 gate in, car #9 gate out". With `quiet` frames without a crossing give no event.

    When the size of a camera's picture changes, lines in parts of it move along, totals stay, and an object
    has crossed again once it was clear of a line on both sides in the new picture.

    Raises `ConfigError` for lines of another form and a margin below 0. Frames of a camera that does not tell
    its size fail with `InvalidValueError` where its lines are parts of the picture.

    >>> from flowedge import Origin
    >>> from flowedge.testing import run_operator
    >>> walk = [
    ...     Tracks(Origin("north", index=i), [[40, y, 60, y + 40]], [1], [0], names=("person",), ids=[7])
    ...     for i, y in enumerate((10, 40, 70))
    ... ]
    >>> dict(run_operator(CountLines({"gate": (0, 80, 99, 80)}), walk)[-1].data)
    {'gate in': 1, 'gate out': 0, 'gate in person': 1, 'crossed': 'person #7 gate in'}
    """

    state = State.PER_CAMERA

    lines: Lines
    margin: float = 0.1
    quiet: bool = False
    _cameras: dict[str, _CameraCounts] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("lines", are_lines(self.lines), WANTED)
        self.require("margin", self.margin >= 0, "a part of a box's height from 0")

    def check_cameras(self, cameras: Collection[str]) -> None:
        if by_camera(self.lines):
            check_names(f"{self.name}.lines", self.lines, cameras, complete=False)

    def process(self, tracks: Tracks, /) -> Event | None:
        """The camera's totals after this frame."""
        origin = tracks.origin
        camera = self._cameras.get(origin.camera)
        if camera is None or camera.size != (origin.width, origin.height):
            totals = None if camera is None else camera.totals
            camera = _CameraCounts(*lines_of(self.lines, origin), (origin.width, origin.height), totals)
            self._cameras[origin.camera] = camera
        crossed = camera.crossings(tracks, self.margin)
        if crossed:
            return Event(origin, "crossing", {**camera.totals, "crossed": ", ".join(crossed)})
        return None if self.quiet else Event(origin, "counts", dict(camera.totals))

    def flush(self, camera: str) -> Iterable[Event]:
        """Forget the camera's objects and totals."""
        self._cameras.pop(camera, None)
        return ()

    def snapshot(self, camera: str) -> dict[str, Any] | None:
        """The camera's totals, and on which side of its lines its objects are."""
        return self._cameras[camera].snapshot() if camera in self._cameras else None

    def restore(self, camera: str, state: Any) -> None:
        """Count on from the camera's totals."""
        width, height = integers(state, "size", 2)
        totals = item(state, "totals", dict)
        lines = lines_of(self.lines, Origin(camera, width=width, height=height))
        counts = _CameraCounts(*lines, (width, height), dict(totals))
        needed = _zeros(lines[0])
        if not totals.keys() >= needed.keys() or any(type(count) is not int for count in totals.values()):
            raise StateError(f"totals: an integer for each of {', '.join(needed)} is needed")
        counts.restore(state)
        self._cameras[camera] = counts


class _CameraCounts:
    """The T objects of one camera, its L lines, and on which side of each an object was clear of it last.

    All of it holds for pictures of one `size`; `totals` are those of the pictures before, if there were any.
    """

    def __init__(
        self,
        names: tuple[str, ...],
        ends: NDArray[np.float32],
        size: tuple[int, int],
        totals: dict[str, int] | None,
    ) -> None:
        self.size = size
        self._names = names
        self._starts, self._ways = ends[:, :2], ends[:, 2:] - ends[:, :2]
        self._lengths = np.hypot(self._ways[:, 0], self._ways[:, 1])
        self._ids = np.empty(0, np.int64)  # T, ascending
        self._seen = np.empty(0, np.int64)  # T: the last frame with the object
        self._clear = np.empty((0, len(names), 2), np.float32)  # T x L x 2, as of `_places`
        self.totals = totals or _zeros(names)

    def crossings(self, tracks: Tracks, margin: float) -> list[str]:
        """Take in a frame; what has crossed which line in it, in words, added to the totals."""
        rows = self._rows(tracks)
        places = self._places(tracks)
        tall = (tracks.boxes[:, 3] - tracks.boxes[:, 1])[:, None]
        clear = np.abs(places[..., 0]) > margin * tall
        before = self._clear[rows]
        crossed = clear & (before[..., 0] * places[..., 0] < 0) & _between_ends(before, places)
        self._clear[rows] = np.where(clear[..., None], places, before)
        labels, ids = tracks.labels, tracks.ids.tolist()
        told = []
        for row, line in np.argwhere(crossed).tolist():
            way = f"{self._names[line]} {'in' if places[row, line, 0] > 0 else 'out'}"
            told.append(f"{labels[row]} #{ids[row]} {way}")
            for key in (way, f"{way} {labels[row]}"):
                self.totals[key] = self.totals.get(key, 0) + 1
        return told

    def snapshot(self) -> dict[str, Any]:
        """As plain data: 16 bytes for each object, and 8 for each line; those of the last 1000 frames."""
        return {
            "size": list(self.size),
            "totals": dict(self.totals),
            "ids": self._ids.copy(),
            "seen": self._seen.copy(),
            "clear": self._clear.copy(),
        }

    def restore(self, state: Any) -> None:
        """Take over the objects of another's `snapshot`. Raises `StateError`."""
        number, places = (np.int64, ()), (np.float32, self._clear.shape[1:])
        columns = table(state, ids=number, seen=number, clear=places)
        if (np.diff(columns["ids"]) <= 0).any():
            raise StateError("ids: ascending numbers are needed")
        self._ids, self._seen, self._clear = columns["ids"], columns["seen"], columns["clear"]

    def _places(self, tracks: Tracks) -> NDArray[np.float32]:
        """N x L x 2: how far each foot point is from each line (pixels, above 0 on the right of who looks along
        it) and where along it (0 at its start, 1 at its end)."""
        boxes = tracks.boxes
        feet = np.stack([(boxes[:, 0] + boxes[:, 2]) / 2, boxes[:, 3]], axis=1)
        x, y = np.moveaxis(feet[:, None] - self._starts, -1, 0)
        across, down = self._ways.T
        distance = (across * y - down * x) / self._lengths
        along = (across * x + down * y) / self._lengths**2
        return np.stack([distance, along], axis=-1)

    def _rows(self, tracks: Tracks) -> NDArray[np.intp]:
        """Which of the T objects each track is, after taking in new ones and forgetting those long gone."""
        index = tracks.origin.index
        kept = self._seen >= index - _REMEMBERED
        if not kept.all() or not np.isin(tracks.ids, self._ids).all():
            self._renew(kept, np.setdiff1d(tracks.ids, self._ids[kept]))
        rows = np.searchsorted(self._ids, tracks.ids)
        self._seen[rows] = index
        return rows

    def _renew(self, kept: NDArray[np.bool_], new: NDArray[np.int64]) -> None:
        """Keep these of the T objects and take in new identities."""
        unknown = np.zeros((len(new), len(self._names), 2), np.float32)  # at distance 0: on no side
        ids = np.concatenate([self._ids[kept], new])
        order = np.argsort(ids)
        self._ids = ids[order]
        self._seen = np.concatenate([self._seen[kept], np.zeros(len(new), np.int64)])[order]
        self._clear = np.concatenate([self._clear[kept], unknown])[order]


def _zeros(names: Iterable[str]) -> dict[str, int]:
    """What is counted over lines of these names, from the start."""
    return {f"{name} {way}": 0 for name in names for way in ("in", "out")}


def _between_ends(before: NDArray[np.float32], now: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Whether the straight way between two places (N x L x 2) meets the line between its ends."""
    apart = before[..., 0] - now[..., 0]
    part = np.divide(before[..., 0], apart, out=np.zeros_like(apart), where=apart != 0)
    along = before[..., 1] + part * (now[..., 1] - before[..., 1])
    return np.asarray((along >= 0) & (along <= 1))
