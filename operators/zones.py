"""Objects with the zones that they are in."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from flowedge import Operator, State, Tracks
from flowedge.graph.per_camera import check_names
from flowedge.vision.zones import WANTED, Occupancy, are_zones, by_camera
from flowedge.vision.zones import Zones as Polygons


@dataclass
class Zones(Operator[Tracks, Tracks]):
    """Tell of each tracked object in which zones it is, and since when.

    `zones` are polygons by name, each of three or more points x, y, in source pixels or, where all are from 0
    to 1, in parts of the picture; the same for all cameras, or a mapping of them for each camera. An object is
    where its foot point is (the middle of the lower edge of its box).

    For a zone "door" objects get the attributes "door" (bool: inside) and "door seconds" (float32: how long
    already on the camera's timeline, 0 outside). `CountZones` gives counts, arrivals and departures as events.

    Raises `ConfigError` for zones of another form. Frames of a camera that does not tell its size fail with
    `InvalidValueError` where its zones are parts of the picture.

    >>> from flowedge import Origin
    >>> from flowedge.testing import run_operator
    >>> moments = [Origin("north", index=second, media=second) for second in (0, 1)]
    >>> stand = [Tracks(moment, [[40, 0, 60, 50]], [1], [0], ids=[7]) for moment in moments]
    >>> found = run_operator(Zones({"door": ((0, 0), (99, 0), (99, 99))}), stand)[-1]
    >>> found.attributes["door"].tolist(), found.attributes["door seconds"].tolist()
    ([True], [1.0])
    """

    state = State.PER_CAMERA

    zones: Polygons
    _cameras: dict[str, Occupancy] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("zones", are_zones(self.zones), WANTED)

    def check_cameras(self, cameras: Collection[str]) -> None:
        if by_camera(self.zones):
            check_names(f"{self.name}.zones", self.zones, cameras, complete=False)

    def process(self, tracks: Tracks, /) -> Tracks:
        """The same tracks with attributes of every zone."""
        stays = self._cameras.setdefault(tracks.origin.camera, Occupancy()).update(tracks, self.zones)
        columns = {name: stay.inside for name, stay in stays.items()}
        return tracks.with_attributes(
            **columns, **{f"{name} seconds": stay.seconds for name, stay in stays.items()}
        )

    def flush(self, camera: str) -> Iterable[Tracks]:
        """Forget who is in the camera's zones."""
        self._cameras.pop(camera, None)
        return ()

    def snapshot(self, camera: str) -> dict[str, Any] | None:
        """Who is in the camera's zones since when."""
        return self._cameras[camera].snapshot() if camera in self._cameras else None

    def restore(self, camera: str, state: Any) -> None:
        """Take over who is in the camera's zones."""
        occupancy = Occupancy()
        occupancy.restore(state)
        self._cameras[camera] = occupancy
