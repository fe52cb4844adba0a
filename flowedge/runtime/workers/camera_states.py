"""Copies of the state that a chain has of each camera, for the day when the worker with it dies."""

from __future__ import annotations

import itertools
from collections import Counter

from flowedge.graph.contract import State
from flowedge.plane.transports.requests import Restore
from flowedge.runtime.workers.placement import Copy, Placement, Sent

_epochs = itertools.count(1)


def new_epoch() -> int:
    """The next epoch of identities: one begins whenever a copy is lost with some that it gave out."""
    return next(_epochs)


class CameraStates:
    """The last checkpoint of each camera, and which cameras need one or need theirs restored.

    Its owner has a lock. Where the state is one of tiles every copy has a part of a camera's, so that there is
    a checkpoint for each copy, and it is restored where it was.
    """

    def __init__(self, placement: Placement) -> None:
        self._placement = placement
        self._kept: dict[tuple[str, int], bytes] = {}
        self._moved: dict[str, int | None] = {}  # cameras whose state another copy had; epoch of new identities
        self._behind: Counter[tuple[str, int]] = Counter()  # frames after the checkpoint of a camera and copy
        self._asked: dict[tuple[str, int], int] = {}  # how many of them a checkpoint that is to come has

    def kept(self, camera: str, copy: Copy | None) -> bytes:
        """The last state that is known; empty where there is none."""
        return self._kept.get(self._place(camera, copy), b"")

    def epoch(self, camera: str) -> int | None:
        """In which epoch identities must go on from that state; None where none is lost."""
        return self._moved.get(camera)

    def take_over(self, camera: str, data: bytes, epoch: int | None) -> None:
        """Have a camera that no copy here has go on with a state from elsewhere."""
        self._moved[camera] = epoch
        self._kept[self._place(camera, None)] = data

    def note(self, camera: str, copy: Copy) -> None:
        """The camera has had a frame."""
        self._behind[camera, copy.index] += 1

    def lose(self, copy: Copy) -> dict[str, int]:
        """A copy is gone: its cameras begin elsewhere with their last state, and with new identities.

        Gives how many frames old that is, by camera.
        """
        epoch, behind = new_epoch(), dict[str, int]()
        bound = self._placement.bound
        for key in [key for key, place in bound.items() if place is copy]:
            camera = key[0]
            self._moved[camera] = epoch
            behind[camera] = self._behind.pop((camera, copy.index), behind.get(camera, 0))
            if self._placement.state is State.PER_TILE:
                copy.to_restore.add(camera)
            else:
                del bound[key]
        return behind

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
            for (camera, index), frames in self._behind.items()
            if frames and (camera, index) not in self._asked and self._placement.copies[index].link
        ]
        for camera, copy in due:
            self._asked[camera, copy.index] = self._behind[camera, copy.index]
        return due

    def answered(self, camera: str, copy: Copy, data: bytes | None) -> None:
        """A checkpoint has come, or (None) does not come."""
        seen = self._asked.pop((camera, copy.index), 0)
        here = any(key[0] == camera and place is copy for key, place in self._placement.bound.items())
        if data is not None and here:
            self._kept[self._place(camera, copy)] = data
            self._behind[camera, copy.index] -= seen

    def forget(self, camera: str) -> None:
        """A camera has ended."""
        for key in [key for key in self._kept if key[0] == camera]:
            del self._kept[key]
        for entry in [entry for entry in self._behind if entry[0] == camera]:
            del self._behind[entry]
        self._moved.pop(camera, None)

    def _place(self, camera: str, copy: Copy | None) -> tuple[str, int]:
        return camera, copy.index if copy and self._placement.state is State.PER_TILE else 0
