"""Fewer frames a second."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from flowedge import Detections, Event, Frame, Operator, Origin, State
from flowedge.graph.per_camera import all_hold, required
from flowedge.state.plain import item
from flowedge.video.clock import StreamClock

T = TypeVar("T", bound=Frame | Detections | Event)


@dataclass
class Sample(Operator[T, T]):
    """Pass `fps` values a second of each camera, as its own clock counts them; filter out the others.

    Each time that a value is due the nearest one passes, so the rate is right in the long run whatever the
    camera's rate and jitter; a camera slower than `fps` passes whole. Packets cannot be sampled: later ones
    need the earlier. `fps` may be a mapping by camera name. Raises `ConfigError` where it is not above 0.

    >>> from flowedge.testing import frames, run_operator
    >>> [frame.origin.index for frame in run_operator(Sample(fps=5), frames(11, 64, 48, fps=20))]
    [0, 4, 8]
    """

    state = State.PER_CAMERA

    per_camera = ("fps",)

    fps: float | Mapping[str, float]
    _pace: dict[str, _Pace] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("fps", all_hold(self.fps, lambda fps: fps > 0), "a number of frames per second above 0")

    def process(self, value: T, /) -> T | None:
        """The value itself when it is due, else None."""
        camera = value.origin.camera
        pace = self._pace.get(camera)
        if pace is None:
            pace = self._pace[camera] = self._begun(camera)
        return value if pace.due(value.origin) else None

    def flush(self, camera: str) -> Iterable[T]:
        """Forget the camera."""
        self._pace.pop(camera, None)
        return ()

    def snapshot(self, camera: str) -> dict[str, Any] | None:
        """When the camera's next value is due."""
        return self._pace[camera].snapshot() if camera in self._pace else None

    def restore(self, camera: str, state: Any) -> None:
        """Go on at the pace of the copy before."""
        pace = self._begun(camera)
        pace.restore(state)
        self._pace[camera] = pace

    def _begun(self, camera: str) -> _Pace:
        return _Pace(1 / required(self.fps, camera, f"{self.name}.fps"))


class _Pace:
    """Says of each value of one camera whether it is due."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._clock = StreamClock()
        self._now = 0.0
        self._next = 0.0

    def due(self, origin: Origin) -> bool:
        earlier, self._now = self._now, self._clock.read(origin)
        if self._now + (self._now - earlier) / 2 < self._next:  # the value after this one will be nearer
            return False
        behind = self._now - self._interval  # after a gap the rate goes on, it does not catch up
        self._next = max(self._next, behind) + self._interval
        return True

    def snapshot(self) -> dict[str, Any]:
        return {"clock": self._clock.snapshot(), "now": self._now, "next": self._next}

    def restore(self, state: Any) -> None:
        now, following = item(state, "now", float), item(state, "next", float)
        self._clock.restore(item(state, "clock", dict))
        self._now, self._next = now, following
