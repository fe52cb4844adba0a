"""What tests of operators and graphs need: frames from nowhere, sources on cue, sinks that remember.

>>> from flowedge.operators import Resize
>>> run_operator(Resize(32), frames(1, 64, 48))[0].image.shape
(24, 32, 3)
"""

from __future__ import annotations

import contextlib
import copy
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

import numpy as np

from flowedge.errors import SourceError
from flowedge.graph.contract import Operator, Sink, Source
from flowedge.state.checkpoints import Checkpoint, decode, encode
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


def run_moved(
    operator: Operator[T, U], values: Sequence[T], after: int, cameras: Collection[str] | None = None
) -> list[U]:
    """`run_operator`, with the state of `cameras` (None: all) moved to a fresh copy after so many values.

    The state travels as the bytes of a checkpoint. An operator moves well when both give the same results.

    >>> from flowedge.operators import Sample
    >>> pictures = frames(11, 64, 48, fps=20)
    >>> [frame.origin.index for frame in run_moved(Sample(fps=5), pictures, after=3)]
    [0, 4, 8]
    """
    old, new = copy.deepcopy(operator), copy.deepcopy(operator)
    moved = set(_by_camera(values)) if cameras is None else set(cameras)
    results: list[U] = []
    with contextlib.ExitStack() as stack:
        for running in (old, new):
            stack.callback(running.close)
            running.setup()
        for index, value in enumerate(values):
            if index == after:
                for camera in moved:
                    _move(camera, old, new)
            running = new if index >= after and _camera(value) in moved else old
            if (result := running.process(value)) is not None:
                results.append(result)
        for camera in _by_camera(values):
            results.extend((new if camera in moved and after < len(values) else old).flush(camera))
    return results


def _move(camera: str, old: Operator[Any, Any], new: Operator[Any, Any]) -> None:
    state = old.snapshot(camera)
    if state is not None:
        checkpoint = Checkpoint("test", old.name, camera, 1, 0, 0, "", state)
        new.restore(camera, decode(encode(checkpoint)).state)
    for _ in old.flush(camera):
        pass


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
        cameras.setdefault(_camera(value), []).append(value)
    return cameras


def _camera(value: Any) -> str:
    first = value[0] if isinstance(value, tuple) else value
    return str(first.origin.camera)
