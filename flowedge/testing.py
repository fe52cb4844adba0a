"""What tests of operators and graphs need: frames from nowhere, sources on cue, sinks that remember.

>>> from flowedge.operators import Resize
>>> run_operator(Resize(32), frames(1, 64, 48))[0].image.shape
(24, 32, 3)
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

import numpy as np

from flowedge.errors import SourceError
from flowedge.graph.contract import Operator, Sink, Source
from flowedge.values import Frame, Origin

T = TypeVar("T")
U = TypeVar("U")

_EPOCH = 1_700_000_000.0  # seconds since 1970 of the first synthetic frame
_POLL = 0.005  # seconds between two looks at whether a pause is over


def run_operator(operator: Operator[T, U], values: Sequence[T]) -> list[U]:
    """What the operator makes of the values, in order, with what `flush` gives for each camera at the end.

    Works on a copy of the operator and leaves out filtered values.
    """
    running = copy.deepcopy(operator)
    running.setup()
    try:
        results = [result for value in values if (result := running.process(value)) is not None]
        for camera in _by_camera(values):
            results.extend(running.flush(camera))
    finally:
        running.close()
    return results


def frames(count: int, width: int, height: int, camera: str = "camera", fps: float = 25) -> list[Frame]:
    """Synthetic frames of height x width x 3: a bright square that walks over a grey slope."""
    slope = np.linspace(40, 120, width, dtype=np.uint8)
    side = max(1, height // 6)
    pictures = []
    for index in range(count):
        image = np.repeat(np.tile(slope, (height, 1))[:, :, None], 3, axis=2)
        left = (index * max(1, width // 50)) % max(1, width - side)
        image[height // 2 : height // 2 + side, left : left + side] = (60, 220, 240)
        seconds = index / fps
        origin = Origin(
            camera,
            index=index,
            media=seconds,
            time=_EPOCH + seconds,
            monotonic=seconds,
            width=width,
            height=height,
        )
        pictures.append(Frame(origin, image))
    return pictures


@dataclass
class ListSource(Source[T]):
    """A source of the values given, one stream for each camera among them.

    It fails with a `SourceError` after `fail_after` values of a camera and gives nothing while the event
    `pause` is set. `as_live` makes its cameras live ones. Copies share the values and the event.

    >>> source = ListSource(frames(3, 64, 48))
    >>> source.cameras, len(list(source.read("camera", threading.Event())))
    ({'camera': 'list://camera'}, 3)
    """

    cameras: Mapping[str, str] = field(init=False, default_factory=dict)
    values: Sequence[T]
    fail_after: int | None = None
    pause: threading.Event | None = None
    as_live: bool = False

    def __post_init__(self) -> None:
        self.cameras = {camera: f"list://{camera}" for camera in _by_camera(self.values)}
        super().__post_init__()

    def live(self, camera: str) -> bool:  # noqa: ARG002
        """Whether this source plays cameras."""
        return self.as_live

    def read(self, camera: str, stop: threading.Event) -> Iterator[T]:
        """The camera's values, until `stop`."""
        for count, value in enumerate(_by_camera(self.values)[camera]):
            if count == self.fail_after:
                raise SourceError("failed", f"{self.name}: {camera} fails after {count} values, as it was told")
            while self.pause is not None and self.pause.is_set() and not stop.is_set():
                stop.wait(_POLL)
            if stop.is_set():
                return
            yield value

    def __deepcopy__(self, memo: object) -> Self:
        """Itself: it has no state, and neither decoded pictures nor events can be copied."""
        return self


@dataclass
class Collect(Sink[T]):
    """A sink that keeps what it gets in `values`, shared by all copies of it.

    >>> sink = Collect()
    >>> copy.deepcopy(sink).write("a value")
    >>> sink.values
    ['a value']
    """

    _kept: list[T] = field(init=False, repr=False, compare=False, default_factory=list)

    @property
    def values(self) -> list[T]:
        """Everything written so far; safe to ask for while threads write."""
        return list(self._kept)

    def write(self, value: T, /) -> None:
        """Keep the value."""
        self._kept.append(value)

    def __deepcopy__(self, memo: object) -> Self:
        """Itself, so that the test sees what the running copy got."""
        return self


def _by_camera(values: Sequence[T]) -> dict[str, list[T]]:
    """The values of each camera, cameras in the order in which they first appear."""
    cameras: dict[str, list[T]] = {}
    for value in values:
        first: Any = value[0] if isinstance(value, tuple) else value
        cameras.setdefault(first.origin.camera, []).append(value)
    return cameras
