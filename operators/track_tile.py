"""Tracking on each tile of a split frame by itself."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from flowedge import Detections, Operator, Rect, State, Tracks
from flowedge.state.plain import integers, item
from flowedge.vision.tracking.association import load_solver
from flowedge.vision.tracking.tracker import Tracker, TrackerSettings

_FRAME_BITS = 32  # an identity is the frame at which its tracker began, above its number in that tracker


@dataclass
class TrackTile(Operator[Detections, Tracks]):
    """Track the objects of each tile by themselves, so that tiles can be tracked on different machines.

    Takes what was found in a tile (between `Slice` and `Reconstruct`), gives the tile's tracks: the boxes of
    the detections that belong to one, with identities that mean something only in this tile of this camera and
    never return. `Reconstruct` makes one identity of those of an object that crosses tiles. An object is given
    from its second frame on, or the first if it was there from the start.

    `low`, `new` and `patience` are those of `Track`; boxes are the detector's, because an estimate beyond the
    tile's edge could not be compared with its neighbour's. A tile that begins to show another part of the
    source is begun anew. This is the tracking of CARE's composite form (Calagna, Ravera and
    Chiasserini 2026, "Orchestrating Composite Applications at the Edge", section IV).

    >>> from flowedge import Origin
    >>> from flowedge.testing import run_operator
    >>> origins = [Origin("north", index=index, media=index / 25, tile=1, tiles=4) for index in range(2)]
    >>> tracks = run_operator(TrackTile(), [Detections(each, [[0, 0, 9, 20]], [0.9], [0]) for each in origins])
    >>> [each.ids.tolist() for each in tracks]
    [[1], [1]]
    """

    state = State.PER_TILE

    low: float = 0.1
    new: float = 0.55
    patience: float = 2.0
    _trackers: dict[str, dict[int, _Tile]] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("low", 0 <= self.low <= 1, "a score from 0 to 1")
        self.require("new", self.low <= self.new <= 1, f"a score from {self.low:g} (low) to 1")
        self.require("patience", self.patience >= 0, "a number of seconds from 0")

    def setup(self) -> None:
        load_solver()

    def process(self, detections: Detections, /) -> Tracks:
        """The tile's tracks that are seen in this frame."""
        origin = detections.origin
        tiles = self._trackers.setdefault(origin.camera, {})
        tile = tiles.get(origin.tile)
        if tile is None or tile.region != detections.region:
            first = origin.index << _FRAME_BITS
            tile = tiles[origin.tile] = _Tile(detections.region, first, self._begun())
        tracks = tile.tracker.update(detections)
        return replace(tracks, ids=tracks.ids + tile.base) if tile.base else tracks

    def flush(self, camera: str) -> Iterable[Tracks]:
        """Forget the camera's tracks."""
        self._trackers.pop(camera, None)
        return ()

    def snapshot(self, camera: str) -> dict[str, Any] | None:
        """The tracks of those of the camera's tiles that came here."""
        tiles = self._trackers.get(camera, {})
        return {"tiles": [tile.snapshot(number) for number, tile in tiles.items()]} if tiles else None

    def restore(self, camera: str, state: Any) -> None:
        """Take over these tiles of the camera; others that are here stay, so replicas can be merged."""
        tiles = dict(self._restored(tile) for tile in item(state, "tiles", list))
        self._trackers.setdefault(camera, {}).update(tiles)

    def renumber(self, camera: str, epoch: int) -> None:
        """Number new tracks of these tiles from 1 000 000 times the epoch on; others begin above anyway."""
        for tile in self._trackers.get(camera, {}).values():
            tile.tracker.renumber(epoch)

    def _begun(self) -> Tracker:
        return Tracker(TrackerSettings(low=self.low, new=self.new, patience=self.patience, smooth=False))

    def _restored(self, state: Any) -> tuple[int, _Tile]:
        region: Rect | None = None
        if item(state, "region", object) is not None:
            x1, y1, x2, y2 = integers(state, "region", 4)
            region = x1, y1, x2, y2
        tracker = self._begun()
        tracker.restore(item(state, "tracker", dict))
        return item(state, "tile", int), _Tile(region, item(state, "base", int), tracker)


@dataclass(frozen=True)
class _Tile:
    """What a tile shows, what its identities count from, and who is in it."""

    region: Rect | None
    base: int
    tracker: Tracker

    def snapshot(self, number: int) -> dict[str, Any]:
        region = None if self.region is None else list(self.region)
        return {"tile": number, "region": region, "base": self.base, "tracker": self.tracker.snapshot()}
