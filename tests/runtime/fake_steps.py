"""Steps that do what a test tells them; functions are shared by all copies of a step, as plain data is not."""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty, Queue
from typing import Any

from flowedge import Event, Frame, Gather, Graph, Operator, Origin, Sink, Source, Split, Stream
from flowedge.monitor.report import CameraReport, CountsReport, Report
from flowedge.runtime.limits import Limits
from flowedge.runtime.run import Run

SECONDS = 60.0
"""How long a test waits for what must come: none gets near it unless it hangs."""

FILE_WINDOW = Limits().file_window

IMPATIENT = Limits(drain_seconds=0.1)
"""For a run with a step that is stuck."""


def event(camera: str, index: int) -> Event:
    return Event(Origin(camera, index=index), "fact")


def origin_of(value: Any) -> Origin:
    """The origin of a value, or of the first half of a pair."""
    return origin_of(value[0]) if isinstance(value, tuple) else value.origin


def index_of(value: Any) -> int:
    return origin_of(value).index


def nothing(*_: Any) -> None:
    pass


@dataclass
class Play(Source[Event]):
    """Gives what `play(camera, stop)` yields."""

    play: Callable[[str, threading.Event], Iterator[Event]]
    as_live: bool = False

    def live(self, camera: str) -> bool:
        return self.as_live

    def read(self, camera: str, stop: threading.Event) -> Iterator[Event]:
        return self.play(camera, stop)


@dataclass
class Apply(Operator[Any, Any]):
    """Gives what `function` makes of each value."""

    function: Callable[[Any], Any]
    at_setup: Callable[[], Any] = nothing
    at_flush: Callable[[str], Any] = nothing
    at_close: Callable[[], Any] = nothing

    def setup(self) -> None:
        self.at_setup()

    def process(self, value: Any, /) -> Any:
        return self.function(value)

    def flush(self, camera: str) -> Iterable[Any]:
        self.at_flush(camera)
        return ()

    def close(self) -> None:
        self.at_close()


@dataclass
class ApplyAll(Operator[Any, Any]):
    """Gives what `function` makes of up to four values at once."""

    batch = 4
    function: Callable[[Sequence[Any]], Sequence[Any]]

    def process(self, value: Any, /) -> Any:
        return self.function([value])[0]

    def process_batch(self, values: Sequence[Any], /) -> Sequence[Any]:
        return self.function(values)


@dataclass
class Late(Operator[Any, Any]):
    """Holds back `by` values of each camera, as a decoder does; `lost` are the indices that never come."""

    delayed = True
    by: int
    lost: tuple[int, ...] = ()
    _held: dict[str, deque[Any]] = field(default_factory=lambda: defaultdict(deque), init=False, repr=False)

    def process(self, value: Any, /) -> Any:
        held = self._held[value.origin.camera]
        if index_of(value) not in self.lost:
            held.append(value)
        return held.popleft() if len(held) > self.by else None

    def flush(self, camera: str) -> Iterable[Any]:
        return self._held.pop(camera, ())


@dataclass
class DelayedApply(Apply):
    """`Apply` whose results may come late, or never, or for another frame."""

    delayed = True


@dataclass
class Collect(Sink[Any]):
    """Gives each value to `take`, and each camera's end to `at_end`."""

    take: Callable[[Any], Any] = nothing
    at_end: Callable[[str], Any] = nothing
    at_close: Callable[[], Any] = nothing
    found: Callable[[], Any] = tuple

    def write(self, value: Any, /) -> None:
        self.take(value)

    def end(self, camera: str) -> None:
        self.at_end(camera)

    def close(self) -> None:
        self.at_close()

    def summary(self) -> Any:
        return self.found()


@dataclass
class Tiles(Split[Frame, Frame]):
    """Cuts a frame into `count` columns."""

    count: int = 4

    def split(self, value: Frame, /) -> Sequence[Frame]:
        width = value.width // self.count
        return [
            value.crop((n * width, 0, (n + 1) * width, value.height), tile=n, tiles=self.count)
            for n in range(self.count)
        ]


@dataclass
class Together(Gather[Any, Any]):
    """Gives what `function` makes of the parts."""

    function: Callable[[Sequence[Any]], Any]

    def gather(self, parts: Sequence[Any], /) -> Any:
        return self.function(parts)


class Feed:
    """Cameras that a test plays by hand, value by value.

    A value was put where it goes first once `settle` returns.
    """

    def __init__(self) -> None:
        self._queues: dict[str, Queue[Any]] = {}
        self._lock = threading.Lock()

    def source(self, *cameras: str, live: bool) -> Play:
        addresses = dict.fromkeys(cameras, "test://")
        return Play(addresses, lambda camera, stop: self._play(camera, stop), as_live=live)

    def push(self, camera: str, *values: Any) -> None:
        for value in values:
            self._queue(camera).put(event(camera, value) if isinstance(value, int) else value)

    def end(self, *cameras: str) -> None:
        self.push_all(cameras, None)

    def push_all(self, cameras: Iterable[str], value: Any) -> None:
        for camera in cameras:
            self.push(camera, value)

    def settle(self) -> None:
        for queue in list(self._queues.values()):
            with queue.all_tasks_done:
                assert queue.all_tasks_done.wait_for(lambda: not queue.unfinished_tasks, SECONDS)  # noqa: B023

    def _queue(self, camera: str) -> Queue[Any]:
        with self._lock:
            return self._queues.setdefault(camera, Queue())

    def _play(self, camera: str, stop: threading.Event) -> Iterator[Any]:
        queue = self._queue(camera)
        while not stop.is_set():
            with suppress(Empty):
                value = queue.get(timeout=0.005)
                if isinstance(value, Exception):
                    raise value
                if value is None:
                    queue.task_done()
                    return
                yield value
                queue.task_done()


class Turnstile:
    """A place that values pass only as the test lets them; `open` lets all pass from then on."""

    def __init__(self) -> None:
        self._entered = threading.Semaphore(0)
        self._permits = threading.Semaphore(0)
        self._open = threading.Event()

    def await_entry(self) -> None:
        """Wait until one more value stands before it."""
        assert self._entered.acquire(timeout=SECONDS)

    def let_pass(self) -> None:
        self._permits.release()

    def open(self) -> None:
        self._open.set()
        self._permits.release()

    def pass_through(self, value: Any) -> Any:
        self._entered.release()
        if not self._open.is_set():
            assert self._permits.acquire(timeout=SECONDS)
        return value

    def step(self, name: str = "Turnstile") -> Apply:
        return Apply(lambda value: self.pass_through(value), name=name)


def events(count: int) -> Callable[[str, threading.Event], Iterator[Event]]:
    """A play of `count` values."""

    def play(camera: str, stop: threading.Event) -> Iterator[Event]:
        for index in range(count):
            if stop.is_set():
                return
            yield event(camera, index)

    return play


def file(graph: Graph, count: int, cameras: Sequence[str] = ("north",)) -> Stream[Event]:
    """Lossless cameras of `count` values each."""
    return graph.source(Play(dict.fromkeys(cameras, "test://"), events(count)))


def passed(value: Any) -> Any:
    return value


def finish(run: Run) -> Report:
    """Wait for the end of a run, which must come, and check that every frame is accounted for."""
    report = run.wait(SECONDS)
    assert run.finished
    assert_balanced(report)
    return report


def wait_until(holds: Callable[[], Any]) -> None:
    """Wait for what another thread is about to do."""
    waiting, end = threading.Event(), time.monotonic() + SECONDS
    while time.monotonic() < end:
        if holds():
            return
        waiting.wait(0.002)
    raise AssertionError("did not come true")


def assert_balanced(report: Report) -> None:
    for camera in report.cameras.values():
        for counts in (camera, *camera.sinks.values()):
            assert counts.in_flight == 0
            assert counts.produced == ended(counts)


def ended(counts: CountsReport | CameraReport) -> int:
    return counts.delivered + counts.filtered + counts.failed + sum(counts.dropped.values())


def by_camera(values: Sequence[Any]) -> Mapping[str, list[int]]:
    """The indices of the values of each camera, in the order in which they came."""
    indices: dict[str, list[int]] = defaultdict(list)
    for value in values:
        indices[origin_of(value).camera].append(index_of(value))
    return dict(indices)
