"""Zones in the pictures of cameras: who is inside, who came and left, and for how long."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from flowedge.state.plain import from_origin, item, table, to_origin
from flowedge.values import InvalidValueError, Origin, Tracks
from flowedge.vision.tracking.tracker import elapsed

Zones: TypeAlias = Mapping[str, Any]
"""Polygons by name, each of three or more points x, y in source pixels, or all from 0 to 1 as parts of the
picture's width and height; the same for all cameras, or such a mapping for each camera by its name."""

WANTED = (
    'zones by name, each of three or more points x, y, such as {"door": ((0, 0), (99, 0), (99, 99))}, or such '
    'a mapping for each camera, {"north": {"door": ((0, 0), (99, 0), (99, 99))}}'
)

FORGOTTEN_S = 10.0
"""Seconds out of sight after which somebody has left: a tracker gives a new identity after less."""


def are_zones(zones: Zones) -> bool:
    """Whether a configuration is `Zones`, with at least one of them.

    >>> are_zones({"door": ((0, 0), (1, 0), (1, 1))}), are_zones({"north": {"door": ((0, 0), (1, 0), (1, 1))}})
    (True, True)
    >>> are_zones({}), are_zones({"door": ((0, 0), (1, 0))})
    (False, False)
    """
    if zones and all(isinstance(value, Mapping) for value in zones.values()):
        return all(are_zones(own) and not by_camera(own) for own in zones.values())
    return bool(zones) and all(isinstance(name, str) and name and _is_polygon(zones[name]) for name in zones)


def inside(points: NDArray[np.float32], polygon: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which of N points (N x 2) lie in a polygon (P x 2, closed by itself), by the even-odd rule.

    A ray to the right crosses an edge whose ends lie on both sides of it (Shimrat 1962, algorithm 112).

    >>> square = np.array([[0, 0], [4, 0], [4, 4], [0, 4]], np.float32)
    >>> inside(np.array([[1, 1], [5, 1], [3, 3.5]], np.float32), square).tolist()
    [True, False, True]
    """
    x, y = points[:, :1].astype(np.float64), points[:, 1:].astype(np.float64)
    x1, y1 = polygon.T.astype(np.float64)
    x2, y2 = np.roll(x1, -1), np.roll(y1, -1)
    spans = (y1 > y) != (y2 > y)
    slope = np.divide(x2 - x1, y2 - y1, out=np.zeros_like(x1), where=y1 != y2)
    crossed = spans & (x < x1 + (y - y1) * slope)
    odd: NDArray[np.bool_] = crossed.sum(axis=1) % 2 == 1
    return odd


def zones_of(zones: Zones, origin: Origin) -> dict[str, NDArray[np.float32]]:
    """A camera's zones, P x 2 points in source pixels by name.

    Raises `InvalidValueError` where zones are parts of a picture whose size is not known.
    """
    own = zones.get(origin.camera, {}) if by_camera(zones) else zones
    polygons = {name: np.array(points, np.float32) for name, points in own.items()}
    for name, points in polygons.items():
        if ((points >= 0) & (points <= 1)).all():
            if not (origin.width and origin.height):
                raise InvalidValueError(
                    f"camera {origin.camera} does not tell its size: give its zones in pixels"
                )
            polygons[name] = points * np.array([origin.width, origin.height], np.float32)
    return polygons


@dataclass(frozen=True, slots=True)
class Stays:
    """What one zone shows in one frame: which of the N tracks are inside and since how many seconds (0 where
    they are not), the identities inside, those that entered, and those that left after so many seconds."""

    inside: NDArray[np.bool_]
    seconds: NDArray[np.float32]
    ids: tuple[int, ...]
    entered: tuple[int, ...]
    left: Mapping[int, float]


class Occupancy:
    """Who is in the zones of one camera; fed with its frames in order."""

    def __init__(self) -> None:
        self._size = (-1, -1)
        self._last: Origin | None = None
        self._clock = 0.0
        self._polygons: dict[str, NDArray[np.float32]] = {}
        self._since: dict[str, dict[int, tuple[float, float]]] = {}  # by zone and identity: entered, last seen

    def update(self, tracks: Tracks, zones: Zones) -> dict[str, Stays]:
        """Take in a frame; what each zone shows in it. Somebody stands where the lower edge of their box is.

        Somebody who is out of sight is still inside for `FORGOTTEN_S`, and has then left when last seen.
        """
        if self._size != (tracks.origin.width, tracks.origin.height):
            self._polygons = zones_of(zones, tracks.origin)
            self._size = (tracks.origin.width, tracks.origin.height)
        now = self._now(tracks.origin)
        boxes = tracks.boxes
        feet = np.stack([(boxes[:, 0] + boxes[:, 2]) / 2, boxes[:, 3]], axis=1)
        return {
            name: self._stays(name, inside(feet, area), tracks, now) for name, area in self._polygons.items()
        }

    def snapshot(self) -> dict[str, Any]:
        """Who is inside since when, as plain data: 24 bytes for each of them and each zone."""
        zones = {
            name: {
                "ids": np.array(list(known), np.int64),
                "since": np.array([since for since, _ in known.values()], np.float64),
                "seen": np.array([seen for _, seen in known.values()], np.float64),
            }
            for name, known in self._since.items()
        }
        return {"last": from_origin(self._last), "clock": self._clock, "zones": zones}

    def restore(self, state: Any) -> None:
        """Go on from the `snapshot` of the same zones. Raises `StateError` for anything else."""
        last, clock = to_origin(item(state, "last", object)), item(state, "clock", float)
        zones = item(state, "zones", dict)
        number = (np.float64, ())
        known = {}
        for name in zones:
            columns = table(zones[name], ids=(np.int64, ()), since=number, seen=number)
            ids, since, seen = (column.tolist() for column in columns.values())
            known[name] = dict(zip(ids, zip(since, seen, strict=True), strict=True))
        self._size = (-1, -1)  # the next frame says where the zones are
        self._last, self._clock, self._since = last, clock, known

    def _stays(self, name: str, within: NDArray[np.bool_], tracks: Tracks, now: float) -> Stays:
        known = self._since.setdefault(name, {})
        here = tracks.ids[within].tolist()
        entered = tuple(identity for identity in here if identity not in known)
        for identity in here:
            known[identity] = (known.get(identity, (now, now))[0], now)
        gone = set(tracks.ids[~within].tolist())
        left = {
            identity: (now if identity in gone else seen) - since
            for identity, (since, seen) in known.items()
            if identity in gone or now - seen > FORGOTTEN_S
        }
        for identity in left:
            del known[identity]
        seconds = np.zeros(len(tracks), np.float32)
        seconds[within] = [now - known[identity][0] for identity in here]
        return Stays(within, seconds, tuple(sorted(known)), entered, left)

    def _now(self, origin: Origin) -> float:
        """Seconds on the camera's timeline; over a reconnect, those that passed on the clock of the capture."""
        if self._last is not None:
            self._clock += elapsed(self._last, origin)
        self._last = origin
        return self._clock


def by_camera(zones: Zones) -> bool:
    """Whether a configuration has zones for each camera.

    >>> by_camera({"north": {"door": ((0, 0), (1, 0), (1, 1))}})
    True
    """
    return any(isinstance(value, Mapping) for value in zones.values())


def _is_polygon(points: Any) -> bool:
    if not isinstance(points, Sequence) or isinstance(points, str) or len(points) < 3:
        return False
    return all(
        isinstance(point, Sequence)
        and len(point) == 2
        and all(isinstance(value, int | float) and abs(value) < float("inf") for value in point)
        for point in points
    )
