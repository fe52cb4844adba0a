"""Objects in zones, counted."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from flowedge import Event, Operator, State, Tracks
from flowedge.graph.per_camera import check_names
from flowedge.values import Fact
from flowedge.vision.zones import WANTED, Occupancy, Zones, are_zones, by_camera


@dataclass
class CountZones(Operator[Tracks, Event]):
    """Count the tracked objects in zones, and tell who enters, who leaves and how long they stayed.

    `zones` are those of `Zones`. For each frame there is an event whose data hold for a zone "door": "door
    inside" (how many), "door ids" (who), "door entered" and "door left" (who, in this frame) and "door seconds"
    (how long each of those that left had stayed, in the order of "door left"). Its kind is "zones", or
    "zone change" where somebody entered or left; with `quiet` other frames give no event.

    Somebody out of sight is still inside for 10 s, and has then left when last seen. Raises `ConfigError` for
    zones of another form.

    >>> from flowedge import Origin
    >>> from flowedge.testing import run_operator
    >>> walk = [
    ...     Tracks(Origin("north", index=i, media=i), [[x, 0, x + 20, 50]], [1], [0], ids=[7])
    ...     for i, x in enumerate((80, 40, 90))
    ... ]
    >>> for event in run_operator(CountZones({"door": ((0, 0), (80, 0), (80, 99), (0, 99))}, quiet=True), walk):
    ...     print(event.data)
    {'door inside': 1, 'door ids': (7,), 'door entered': (7,), 'door left': (), 'door seconds': ()}
    {'door inside': 0, 'door ids': (), 'door entered': (), 'door left': (7,), 'door seconds': (1.0,)}
    """

    state = State.PER_CAMERA

    zones: Zones
    quiet: bool = False
    _cameras: dict[str, Occupancy] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("zones", are_zones(self.zones), WANTED)

    def check_cameras(self, cameras: Collection[str]) -> None:
        if by_camera(self.zones):
            check_names(f"{self.name}.zones", self.zones, cameras, complete=False)

    def process(self, tracks: Tracks, /) -> Event | None:
        """Who is in the camera's zones in this frame."""
        stays = self._cameras.setdefault(tracks.origin.camera, Occupancy()).update(tracks, self.zones)
        changed = any(stay.entered or stay.left for stay in stays.values())
        if self.quiet and not changed:
            return None
        data: dict[str, Fact] = {}
        for name, stay in stays.items():
            data |= {
                f"{name} inside": len(stay.ids),
                f"{name} ids": stay.ids,
                f"{name} entered": stay.entered,
                f"{name} left": tuple(stay.left),
                f"{name} seconds": tuple(round(seconds, 3) for seconds in stay.left.values()),
            }
        return Event(tracks.origin, "zone change" if changed else "zones", data)

    def flush(self, camera: str) -> Iterable[Event]:
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
