"""The tracks of all tiles of a frame, brought together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowedge import Gather, Rect, State, StateError, Tracks
from flowedge.state.plain import first_identity, item
from flowedge.state.store import ADDRESSES, MemoryStore, Store, StoreError, is_redis, store_at
from flowedge.vision.tiles import around, common_attributes, common_names, surest_rows
from flowedge.vision.tracking.identities import nobody, recognise
from flowedge.vision.tracking.packing import pack, unpack
from flowedge.vision.tracking.seams import Rows

_KEPT = 86_400  # seconds that a store keeps a camera's identities: also over a pause, no number comes twice
_TRIES = 32  # with as many replicas at work on one camera at once, each of them succeeds


@dataclass
class Reconstruct(Gather[Tracks, Tracks]):
    """Make one track of what the tiles saw of an object, with one identity while it crosses them.

    Takes the tracks of the tiles of a frame (from `TrackTile`), gives those of the frame: one row an object,
    in source pixels, with identities that count from 1 for each camera. Two tiles' tracks are one object where
    what both tiles could see of it agrees; an object that two tiles show has the older identity of the two. An
    object that leaves one tile and comes up in another has its identity where it should be by then. Tracks that
    were taken for one object wrongly go on as two. An object not seen for `memory` seconds is forgotten; where
    nobody looked (a lost tile) it is remembered. When the size of a camera's picture changes, what is known is
    scaled to it, so identities survive. The result's `region` surrounds those of the tiles. An object has the
    attributes of its surest row.

    `store` is where the identities are kept: "memory://" in this process; "redis://host:6379/0" for replicas on
    several machines, which then number objects as one would (extra `redis`; `${NAME}` stands for an environment
    variable). Graphs that share a database need different `name`s here.

    Raises `ConfigError` for a store that is not there when the graph starts. While it is away later, frames
    fail and are counted. This is the reconstruction module of CARE (Calagna, Ravera and Chiasserini 2026,
    "Orchestrating Composite Applications at the Edge", section IV).

    >>> from flowedge import Origin
    >>> left, right = (Origin("north", width=100, height=50, tile=tile, tiles=2) for tile in (0, 1))
    >>> step = Reconstruct()
    >>> step.setup()
    >>> tracks = step.gather([
    ...     Tracks(left, [[30, 5, 60, 40]], [0.9], [0], region=(0, 0, 60, 50), ids=[7]),
    ...     Tracks(right, [[41, 5, 80, 40]], [0.8], [0], region=(40, 0, 100, 50), ids=[3]),
    ... ])
    >>> step.close()
    >>> tracks.boxes.tolist(), tracks.ids.tolist()
    ([[30.0, 5.0, 80.0, 40.0]], [1])
    """

    state = State.PER_CAMERA

    store: str = field(default="memory://", repr=False)  # it may hold a password
    memory: float = 5.0
    _store: Store = field(init=False, repr=False, compare=False, default_factory=MemoryStore)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("store", self.store == "memory://" or is_redis(self.store), ADDRESSES)
        self.require("memory", self.memory > 0, "a number of seconds above 0")
        self._store = store_at(self.store)

    def setup(self) -> None:
        self._store.open()

    def close(self) -> None:
        self._store.close()

    def gather(self, parts: Sequence[Tracks], /) -> Tracks:
        """The tracks of the whole frame.

        Raises `StoreError` when the store gives no answer and `InvalidValueError` where class names or
        attributes differ.
        """
        parts = sorted(parts, key=lambda part: part.origin.tile)
        first, names = parts[0], common_names(self.name, parts)
        attributes = common_attributes(self.name, parts)
        rows, layout = _rows(parts)
        missing = tuple(dict.fromkeys(rect for part in parts for rect in part.missing))
        key = self._key(first.origin.camera)
        for _ in range(_TRIES):
            stored = self._store.load(key)
            identities = nobody() if stored is None else unpack(stored)
            identities, seen, ids = recognise(identities, first.origin, rows, layout, missing, self.memory)
            surest = surest_rows(seen.labels, rows.scores)
            if self._store.swap(key, stored, pack(identities), _KEPT):
                return Tracks(
                    replace(first.origin, tile=0, tiles=1),
                    seen.boxes.astype(np.float32),
                    seen.scores.astype(np.float32),
                    seen.classes.astype(np.int32),
                    names,
                    missing,
                    around(parts),
                    ids=ids,
                    attributes={name: column[surest] for name, column in attributes.items()},
                )
        raise StoreError(
            f"the identities of camera {first.origin.camera} changed {_TRIES} times during one frame"
        )

    def snapshot(self, camera: str) -> dict[str, Any] | None:
        """The camera's identities; None where Redis keeps them, which every copy asks."""
        stored = None if is_redis(self.store) else self._store.load(self._key(camera))
        return None if stored is None else {"identities": stored}

    def restore(self, camera: str, state: Any) -> None:
        """Take over the camera's identities and their numbering."""
        stored = item(state, "identities", bytes)
        try:
            unpack(stored)
        except StoreError as error:
            raise StateError(str(error)) from error
        self._put(camera, stored)

    def renumber(self, camera: str, epoch: int) -> None:
        """Number new objects from 1 000 000 times the epoch on; Redis knows all numbers that were given."""
        if is_redis(self.store):
            return
        stored = self._store.load(self._key(camera))
        identities = nobody() if stored is None else unpack(stored)
        following = first_identity(identities.following, epoch)
        self._put(camera, pack(replace(identities, following=following)))

    def _put(self, camera: str, stored: bytes) -> None:
        key = self._key(camera)
        while not self._store.swap(key, self._store.load(key), stored, _KEPT):
            pass  # somebody else has put a value in between

    def _key(self, camera: str) -> str:
        return f"flowedge/{self.name}/{camera}"


def _rows(parts: Sequence[Tracks]) -> tuple[Rows, NDArray[np.int64]]:
    """The rows of all tiles, which are sorted by tile, and T x 5: each tile's number and region."""
    layout = np.array([[part.origin.tile, *_region(part)] for part in parts], np.int64)
    of = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    all_came = len(parts) == parts[0].origin.tiles
    extent = [_region(part) for part in parts] if all_came else [_whole(parts[0])]
    x1, y1 = np.min(extent, axis=0)[:2]
    x2, y2 = np.max(extent, axis=0)[2:]
    regions = layout[of, 1:].astype(np.float64)
    rows = Rows(
        np.concatenate([part.boxes for part in parts]).astype(np.float64),
        np.concatenate([part.scores for part in parts]).astype(np.float64),
        np.concatenate([part.classes for part in parts]).astype(np.int64),
        layout[of, 0],
        np.concatenate([part.ids for part in parts]),
        regions,
        np.hstack([regions[:, :2] > (x1, y1), regions[:, 2:] < (x2, y2)]),
    )
    return rows, layout


def _region(part: Tracks) -> Rect:
    return part.region or _whole(part)


def _whole(part: Tracks) -> Rect:
    return 0, 0, part.origin.width, part.origin.height
