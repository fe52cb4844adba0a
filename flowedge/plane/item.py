"""What moves between operators: a frame's ticket with its value, or the end of a camera's stream."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from flowedge.values import Absent, Outcome, Rect


@dataclass(slots=True, eq=False)
class Ticket:
    """One frame on its way from its source to every sink; compared by identity.

    `live`: the newest frame matters more than this one. `regions`: what the parts of the frame show, by split.
    """

    camera: str
    index: int
    live: bool
    captured: float
    waiting_for: set[str]
    worst: Absent | None = None
    delivered: bool = False
    regions: dict[str, list[Rect]] = field(default_factory=dict)


class Item(NamedTuple):
    """One value (or `Absent`) of a frame; `part` of `parts` where the frame is split."""

    ticket: Ticket
    value: Any
    part: int = 0
    parts: int = 1

    @property
    def camera(self) -> str:
        return self.ticket.camera

    @property
    def is_value(self) -> bool:
        return not isinstance(self.value, Absent)

    def absent(self, outcome: Outcome, cause: str, place: str) -> Item:
        """The same frame, whose value will not come."""
        origin = first_origin(self.value)
        return self._replace(value=Absent(origin, outcome, cause, place))


class End(NamedTuple):
    """A camera's stream is over."""

    camera: str

    @property
    def is_value(self) -> bool:
        return False


Receiver: TypeAlias = Callable[[Item | End], None]


def first_origin(value: Any) -> Any:
    """The origin of a value, or of the first half of a pair."""
    while isinstance(value, tuple) and not hasattr(value, "origin"):
        value = value[0]
    return value.origin
