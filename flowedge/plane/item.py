"""What moves between operators: a value with its frame's identity, or the end of a camera's stream.

Everything here is immutable and compared by value, so that an item may go on in another process: what changes
about a frame (where it has ended, how) is in the ledger at its source.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from flowedge.values import Absent, FrameId, Origin, Outcome, Rect


class Item(NamedTuple):
    """One value of a frame, or the `Absent` in its place.

    `live`: the newest frame of the camera matters more than this one. Where the frame is split, this is `part`
    of `parts`, and `regions` says what every part shows (None for a part that is no picture). `partners` are
    the frames of other cameras that were synchronized with this one, and end wherever and however it ends.
    `route` is the number of the route on which the frame was admitted and goes all its way.
    """

    frame: FrameId
    value: Any
    live: bool
    part: int = 0
    parts: int = 1
    regions: tuple[Rect | None, ...] = ()
    partners: tuple[FrameId, ...] = ()
    route: int = 0

    @property
    def camera(self) -> str:
        return self.frame.camera

    @property
    def is_value(self) -> bool:
        return not isinstance(self.value, Absent)

    def with_value(self, value: Any) -> Item:
        """The same part of the same frame with another value."""
        # Half the time of `_replace`, which looks its fields up by name: this is done at every hop.
        return Item(
            self.frame, value, self.live, self.part, self.parts, self.regions, self.partners, self.route
        )

    @property
    def frames(self) -> tuple[FrameId, ...]:
        """The frame and its partners."""
        return (self.frame, *self.partners)

    def paired_with(self, other: Item) -> Item:
        """The pair of two whole frames, as an item of this frame."""
        pair = (self.value, other.value)
        return self._replace(value=pair, partners=(*self.partners, *other.frames))

    def absent(self, outcome: Outcome, cause: str, place: str) -> Item:
        """The same part of the same frame, whose value will not come."""
        return self.with_value(Absent(first_origin(self.value), outcome, cause, place))


class End(NamedTuple):
    """A camera's stream is over.

    `behind`: it comes after the values of this camera, with which the last of its own are on their way.
    """

    camera: str
    behind: str = ""

    @property
    def is_value(self) -> bool:
        return False


Receiver: TypeAlias = Callable[[Item | End], None]


def first_origin(value: Any) -> Origin:
    """The origin of a value, or of the first half of a pair."""
    while isinstance(value, tuple) and not hasattr(value, "origin"):
        value = value[0]
    origin: Origin = value.origin
    return origin


def in_session(value: Any, session: int) -> Any:
    """The same value, or pair of values, in another session of its camera.

    >>> first_origin(in_session(Absent(Origin("north", index=3), Outcome.FILTERED, "", ""), 2)).frame_id
    FrameId(camera='north', session=2, index=3)
    """
    if isinstance(value, tuple) and not hasattr(value, "origin"):
        return tuple(in_session(half, session) for half in value)
    return dataclasses.replace(value, origin=dataclasses.replace(value.origin, session=session))
