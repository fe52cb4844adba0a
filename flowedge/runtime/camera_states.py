"""Copies of the state that a chain has of each camera, for the day when the worker with it dies."""

from __future__ import annotations

import itertools

from flowedge.graph.contract import State
from flowedge.plane.transports.requests import Restore
from flowedge.runtime.placement import Copy, Placement, Sent

_epochs = itertools.count(1)  # of identities: grows whenever a copy is lost with some that it gave out


class CameraStates:
    """The last checkpoint of each camera, and which cameras need one or need theirs restored.

    Its owner has a lock. Where the state is one of tiles every copy has a part of a camera's, so that there is
    a checkpoint for each copy, and it is restored where it was.
    """

    def __init__(self, placement: Placement) -> None:
        self._placement = placement
        self._kept: dict[tuple[str, int], bytes] = {}
        self._moved: dict[str, int | None] = {}  # cameras whose state another copy had; epoch of new identities
        self._changed: set[tuple[str, int]] = set()  # cameras and copies with frames after the last checkpoint
        self._asked: set[tuple[str, int]] = set()

    def keep(self, camera: str, copy: Copy | None, data: bytes) -> None:
        """This is the camera's state now."""
        self._kept[self._place(camera, copy)] = data

    def kept(self, camera: str, copy: Copy | None) -> bytes:
        """The last state that is known; empty where there is none."""
        return self._kept.get(self._place(camera, copy), b"")

    def hand_over(self, camera: str, data: bytes) -> None:
        """Have the camera go on with a state that no copy here has given."""
        self._moved[camera] = None
        copy = self._placement.bound.get((camera, 0))
        self.keep(camera, copy, data)
        if copy is not None:
            copy.to_restore.add(camera)

    def note(self, camera: str, copy: Copy) -> None:
        """The camera has had a frame."""
        self._changed.add((camera, copy.index))

    def lose(self, copy: Copy) -> None:
        """A copy is gone: its cameras begin elsewhere with their last state, and with new identities."""
        epoch = next(_epochs)
        self._changed = {entry for entry in self._changed if entry[1] != copy.index}
        bound = self._placement.bound
        for key in [key for key, place in bound.items() if place is copy]:
            self._moved[key[0]] = epoch
            if self._placement.state is State.PER_TILE:
                copy.to_restore.add(key[0])
            else:
                del bound[key]

    def bind(self, sent: Sent, copy: Copy) -> None:
        """An item goes to a copy, and the camera's state before it where that is elsewhere."""
        if self._placement.state is State.NONE:
            return
        key, camera = self._placement.key(sent.item), sent.item.camera
        self._placement.bound.setdefault(key, copy)
        of_tiles = self._placement.state is State.PER_TILE
        if camera in self._moved and not of_tiles:
            copy.to_restore.add(camera)
        sent.restores = None
        if camera in copy.to_restore:
            copy.to_restore.discard(camera)
            sent.restores, sent.state = Restore(camera, self._moved.get(camera)), self.kept(camera, copy)
            if not of_tiles:
                self._moved.pop(camera, None)

    def ask(self) -> list[tuple[str, Copy]]:
        """The cameras and copies of which a checkpoint is due; `answered` comes after each."""
        due = [
            (camera, self._placement.copies[index])
            for camera, index in self._changed - self._asked
            if self._placement.copies[index].link
        ]
        for camera, copy in due:
            self._changed.discard((camera, copy.index))
            self._asked.add((camera, copy.index))
        return due

    def answered(self, camera: str, copy: Copy, data: bytes | None) -> None:
        """A checkpoint has come, or (None) does not come."""
        self._asked.discard((camera, copy.index))
        here = any(key[0] == camera and place is copy for key, place in self._placement.bound.items())
        if data is not None and here:
            self.keep(camera, copy, data)

    def forget(self, camera: str) -> None:
        """A camera has ended."""
        for key in [key for key in self._kept if key[0] == camera]:
            del self._kept[key]
        self._changed = {entry for entry in self._changed if entry[0] != camera}
        self._moved.pop(camera, None)

    def _place(self, camera: str, copy: Copy | None) -> tuple[str, int]:
        return camera, copy.index if copy and self._placement.state is State.PER_TILE else 0
