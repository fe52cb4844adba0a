"""Measure what a graph's operators take and give: one operator after the other, alone, on all frames.

In a running graph operators share the cores, so that their times contain each other's. Here the frames are
read first; then the steps work one after the other, each on all of them, so that its times are its own.
As in a run, a picture is converted by the operator that looks at it first.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import chdir, closing, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from typing import Any, TypeAlias

from flowedge.errors import RunError, UserError
from flowedge.graph.contract import Detached, Gather, Operator, Sink, Source, Split, Step
from flowedge.graph.graph import Graph
from flowedge.graph.loading import load
from flowedge.graph.nodes import Both, Half, Output, Pair, Wire, steps_of
from flowedge.inference.engines import settle
from flowedge.plane.item import first_origin
from flowedge.planner.model.applications import scalar
from flowedge.planner.model.profiles import Accuracy, Setting
from flowedge.profiling.fitting import SENT_AT, Measurement, StepBytes, StepTime
from flowedge.profiling.gil import LockProbe, probing
from flowedge.profiling.memory import MemoryMeter, anonymous_bytes
from flowedge.profiling.trials import Trial
from flowedge.values import Frame
from flowedge.wire.blocks import WireError, block

WARM = 5
"""Frames at the beginning that are not timed: they pay for what is done once (OpenVINO's third took 0.4 s)."""

_QUALITIES = (30, 50, SENT_AT, 90)
_SCALES = (1.0, 0.5, 0.25)
_SAMPLES = 3  # frames whose pictures are encoded


def cores_here() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0))


def measured(trials: Sequence[Trial], cores: int, frames: int) -> Iterator[Measurement]:
    """Measure each trial with so many cores, in a process of its own that may use no others.

    Bytes and accuracy are measured too; they do not depend on cores. Raises `UserError`.
    """
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool
    from multiprocessing import get_context

    with ProcessPoolExecutor(1, get_context("spawn")) as child:
        for trial in trials:
            try:
                with _only(cores):  # a new process inherits it, and libraries count their threads by it
                    result = child.submit(_measured, trial, cores, frames)
                yield result.result()
            except BrokenProcessPool:
                raise RunError(
                    f"{trial.path}: the process that measured it died, maybe for want of memory"
                ) from None


@contextmanager
def _only(cores: int) -> Iterator[None]:
    """Keep the calling thread, and processes that it starts, on the first few of its cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:cores])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


Recorded: TypeAlias = list[tuple[Source[Any], list[Any]]]
"""Sources, and the frames that they gave."""

_recorded: Recorded = []  # in the child: settings are compared on the same frames
_meter = MemoryMeter()


def _measured(trial: Trial, cores: int, frames: int) -> Measurement:
    try:
        graph, _ = load(trial.path, dict(trial.given))
        graph.check()
        return measure(graph, trial.setting, cores, frames, _recorded, _meter)
    except UserError as error:
        raise RunError(str(error)) from None  # its class may not survive the way to the parent


def measure(
    graph: Graph,
    setting: Setting,
    cores: int,
    frames: int,
    recorded: Recorded | None = None,
    meter: MemoryMeter | None = None,
    gave: Callable[[str, Sequence[Any]], None] | None = None,
    beside: bool = False,
) -> Measurement:
    """Measure a graph in this process under one setting, on `frames` frames of each source's first camera.

    Sources that are among `recorded` are not read again, others are added. `cores` is only noted. `meter` knows
    what memory steps of earlier settings share in this process. `gave` is called with the name of every step
    and what it gave, None where it gave nothing for a frame. Sinks write into a folder that is then removed.
    `beside` a running graph, sinks are left out, and memory, which takes as long again, but it is measured who
    has Python's global lock. Raises `UserError`
    where a step cannot be set up, fails on more than half of the frames, or where there are not enough frames.
    """
    meter = meter or MemoryMeter()
    values: dict[str, list[Any]] = {}
    times: list[StepTime] = []
    sizes: list[StepBytes] = []
    accuracy = None
    last = {name: node.name for node in graph.nodes for name in node.feeders}
    for node in graph.nodes:
        if isinstance(node.step, Sink) and beside:
            continue
        step = with_setting(node.step, setting)
        if isinstance(step, Source):
            given = _frames_of(step, frames, [] if recorded is None else recorded)
        else:
            assert node.input is not None
            taken = [_fed(node.input, values, index) for index in range(_count(node.input, values))]
            memory = 0.0 if beside else meter.added(type(step), partial(_rehearsed, step, taken[:WARM]))
            work = _Work(step)
            with probing() if beside else nullcontext() as work.probe:
                given = work.all(taken)
            times.append(replace(work.time(taken, given), memory=memory))
            accuracy = work.accuracy or accuracy
        if not isinstance(step, Sink):
            sizes += _sizes(node.name, given)
        values[node.name] = given
        if gave:
            gave(node.name, given)
        for name in [name for name in values if last.get(name) == node.name]:
            del values[name]  # pictures are large
    return Measurement(setting, cores, tuple(times), tuple(sizes), accuracy)


def with_setting(step: Step, setting: Setting) -> Step:
    """The step with the values that a setting has for its knobs."""
    chosen = dict(setting)
    fields = {
        name: next(value for value in choice.values if scalar(value) == chosen[choice.name])
        for name, choice in step.knobs.items()
    }
    return replace(step, **fields) if fields else step


def _frames_of(source: Source[Any], frames: int, recorded: Recorded) -> list[Any]:
    """The first frames of the source's first camera, none of them converted by anybody yet."""
    for other, values in recorded:
        if type(other) is type(source) and other == source:
            return [_mapped(value, _fresh) for value in values]
    camera = next(iter(source.cameras))
    stop = threading.Event()
    source.setup()
    try:
        with closing(_reading(source, camera, stop)) as reading:
            values = list(islice(reading, frames))
            stop.set()
    finally:
        source.close()
    if len(values) <= WARM:
        raise RunError(f"{source.name}: {camera} gave {len(values)} frames; more than {WARM} are needed")
    recorded.append((source, values))
    return [_mapped(value, _fresh) for value in values]


def _reading(source: Source[Any], camera: str, stop: threading.Event) -> Any:
    yield from (value for value in source.read(camera, stop) if not isinstance(value, Detached))


def _count(wire: Wire, values: dict[str, list[Any]]) -> int:
    return len(values[steps_of(wire)[0]])


def _fed(wire: Wire, values: dict[str, list[Any]], index: int) -> Any:
    """What a wire carries for one frame: a value, a list of values of its tiles, None where there is none."""
    match wire:
        case Output(step):
            return values[step][index]
        case Half(of, half):
            whole = _fed(of, values, index)
            if isinstance(whole, list):
                return [None if tile is None else tile[half] for tile in whole]
            return None if whole is None else whole[half]
        case Pair(one, other) | Both(one, other):  # a frame of its first camera stands for that of its partner
            left, right = _fed(one, values, index), _fed(other, values, index)
            if isinstance(left, list) and isinstance(right, list):
                return [_pair(*pair) for pair in zip(left, right, strict=True)]
            return _pair(left, right)


def _pair(left: Any, right: Any) -> Any:
    return None if left is None or right is None else (left, right)


def _rehearsed(step: Step, taken: Sequence[Any]) -> int:
    """The most memory while a copy of the step works, so that the step itself begins fresh."""
    return _Work(replace(step)).rehearse(taken)


@contextmanager
def _safely(step: Step) -> Iterator[None]:
    """Let a sink write into a folder that is removed, and make any error one sentence that names the step."""
    sink = isinstance(step, Sink)
    try:
        with tempfile.TemporaryDirectory() as folder, chdir(folder) if sink else nullcontext():
            yield
    except UserError:
        raise
    except Exception as error:
        raise RunError(f"{step.name}: {type(error).__name__}: {error}") from error


@dataclass
class _Work:
    """One step at work on all frames: what it gives, and the seconds of each frame."""

    step: Step
    seconds: list[float] = field(default_factory=list)
    work: list[float] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)
    accuracy: Accuracy | None = None
    probe: LockProbe | None = None
    lock: float | None = None

    def all(self, taken: Sequence[Any]) -> list[Any]:
        """The results for all frames, None where there is none."""
        with _safely(self.step):
            return self._worked(taken)

    def rehearse(self, taken: Sequence[Any]) -> int:
        """The most memory that the process has while the step works on these frames; keeps nothing."""
        with _safely(self.step):
            self.step.setup()
            try:
                most = anonymous_bytes()
                for value in taken:
                    if value is not None:
                        self._timed(_mapped(value, _fresh))
                        most = max(most, anonymous_bytes())
                return most
            finally:
                self.step.close()

    def time(self, taken: Sequence[Any], given: Sequence[Any]) -> StepTime:
        """Mean and standard deviation of the frames after the first `WARM`, in seconds."""
        warm = self.seconds[WARM:]
        if not warm:
            raise RunError(f"{self.step.name}: {len(self.seconds)} frames came; more than {WARM} are needed")
        mean = statistics.fmean(warm)
        pixels = statistics.fmean(_looked_at(self.step, value) for value in taken if value is not None)
        pictures = [value for value in given if value is not None]
        pixels += _pixels(pictures) if pictures else 0.0
        work = statistics.fmean(self.work[WARM:])
        return StepTime(
            self.step.name, mean, statistics.pstdev(warm, mean), len(warm), pixels, work=work, lock=self.lock
        )

    def _worked(self, taken: Sequence[Any]) -> list[Any]:
        self.step.setup()
        try:
            results = [None if value is None else self._timed(value) for value in taken]
            self.lock = self.probe.share() if self.probe else None
            if 2 * len(self.failures) > len(self.seconds):
                error = self.failures[-1]
                raise RunError(f"{self.step.name}: {type(error).__name__}: {error}") from error
            self._end(taken, results)
            return results
        finally:
            self.step.close()

    def _timed(self, value: Any) -> Any:
        if len(self.seconds) == WARM:
            settle()
            if self.probe:
                self.probe.share()  # what came before does not count
        begun, worked = time.perf_counter(), time.process_time()
        try:
            return self._call(value)
        except UserError:
            raise
        except Exception as error:  # as in a run: the frame is lost, the operator goes on
            self.failures.append(error)
            return None
        finally:
            self.seconds.append(time.perf_counter() - begun)
            self.work.append(time.process_time() - worked)

    def _call(self, value: Any) -> Any:
        match self.step:
            case Operator() if isinstance(value, list):
                present = [index for index, tile in enumerate(value) if tile is not None]
                results: list[Any] = [None] * len(value)
                for first in range(0, len(present), self.step.batch):
                    part = present[first : first + self.step.batch]
                    answers = self.step.process_batch([value[index] for index in part])
                    for index, answer in zip(part, answers, strict=True):
                        results[index] = answer
                return results
            case Operator():
                return self.step.process(value)
            case Split():
                return list(self.step.split(value))
            case Gather():
                return self.step.gather([part for part in value if part is not None])
            case Sink():
                return self.step.write(value)
        raise TypeError(f"{self.step.name} is no step that takes values")

    def _end(self, taken: Sequence[Any], results: list[Any]) -> None:
        """End the stream: put late results in the places of their frames, and ask a sink for the accuracy."""
        origins = [None if value is None else first_origin(_first(value)) for value in taken]
        camera = next(origin.camera for origin in origins if origin is not None)
        if isinstance(self.step, Operator):
            late = list(self.step.flush(camera))
            if self.step.delayed:
                given = [value for value in results if value is not None] + late
                by_index = {first_origin(value).index: value for value in given}
                results[:] = [origin and by_index.get(origin.index) for origin in origins]
        if isinstance(self.step, Sink):
            self.step.end(camera)
            judged = self.step.measured_accuracy()
            if judged is not None:
                self.accuracy = Accuracy(judged[0], source=f"measured: {judged[1]}")


def _first(value: Any) -> Any:
    return next(part for part in value if part is not None) if isinstance(value, list) else value


def _looked_at(step: Step, value: Any) -> float:
    """Pixels that a step looks at in a frame."""
    if isinstance(value, list):
        return sum(_looked_at(step, part) for part in value if part is not None)
    pictures = [picture for picture in _flat(value) if isinstance(picture, Frame)]
    size = getattr(step, "size", None)
    if isinstance(size, int) and pictures:
        return float(size * size)
    return float(sum(picture.width * picture.height for picture in pictures))


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, (tuple, list)):
        for each in value:
            yield from _flat(each)
    elif value is not None:
        yield value


def _sizes(name: str, given: Sequence[Any]) -> Iterator[StepBytes]:
    """The bytes of a step's output: as it is, and its pictures compressed; whole pictures in several ways."""
    values = [value for value in given if value is not None]
    if not values:
        return
    try:
        raw = statistics.fmean(map(_size, values))
    except WireError:  # a value of the user's own kind: it stays inside one process
        return
    yield StepBytes(name, raw)
    samples = values[WARM :: max(1, (len(values) - WARM) // _SAMPLES)][:_SAMPLES] or values
    if not any(isinstance(each, Frame) for each in _flat(samples[0])):
        return
    whole = not isinstance(samples[0], list)
    for scale in _SCALES if whole else (1.0,):
        scaled = [_mapped(value, partial(_smaller, scale=scale)) for value in samples]
        for quality in _QUALITIES if whole else (SENT_AT,):
            size = statistics.fmean(_size(value, quality) for value in scaled)
            yield StepBytes(name, size, quality, _pixels(scaled), scaled=scale != 1)


def _size(value: Any, quality: int | None = None) -> float:
    if isinstance(value, list):
        return sum(_size(each, quality) for each in value if each is not None)
    return float(block(value, jpeg=quality).size)


def _pixels(values: Sequence[Any]) -> float:
    return statistics.fmean(
        sum(each.width * each.height for each in _flat(value) if isinstance(each, Frame)) for value in values
    )


def _mapped(value: Any, change: Callable[[Frame], Frame]) -> Any:
    """A value with its frames changed."""
    if isinstance(value, (tuple, list)):
        return type(value)(_mapped(each, change) for each in value)
    return change(value) if isinstance(value, Frame) else value


def _fresh(frame: Frame) -> Frame:
    """The same frame without what was converted and kept."""
    return Frame(frame.origin, frame.picture, frame.region)


def _smaller(frame: Frame, scale: float) -> Frame:
    fresh = _fresh(frame)
    return fresh.replace(image=fresh.bgr(max(1, int(frame.width * scale)), max(1, int(frame.height * scale))))
