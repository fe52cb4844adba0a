"""Fewer frames a second."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from flowedge import Detections, Event, Frame, Operator, Origin, State
from flowedge.graph.per_camera import all_hold, required
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
            pace = self._pace[camera] = _Pace(1 / required(self.fps, camera, f"{self.name}.fps"))
        return value if pace.due(value.origin) else None

    def flush(self, camera: str) -> Iterable[T]:
        """Forget the camera."""
        self._pace.pop(camera, None)
        return ()


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
