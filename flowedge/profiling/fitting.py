"""Profiles and fitted models from measurements of a graph's operators.

`flowedge.profiling.measure` measures; these functions are pure.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from flowedge.errors import ConfigError
from flowedge.planner.model.profiles import (
    FREE_SECONDS,
    Accuracy,
    OutputSize,
    Profiles,
    Service,
    Setting,
    setting,
)
from flowedge.profiling.models import Encoded, Errors, Timed, errors, fit_accuracy, fit_bytes, fit_service

PART_SECONDS = 0.02
"""A part of a core that can have an operator's frame done only once in a longer time is not offered for it."""

SENT_AT = 80
"""The quality (0..100) of pictures that are sent as JPEG."""

RESOLUTION_KNOBS = ("size", "width", "height", "resolution")
"""Knobs that may be r in a(r) = a1 - a2 exp(-r / a3); the first one that has three values is."""


@dataclass(frozen=True, slots=True)
class StepTime:
    """Mean and standard deviation of the seconds that a step takes for a frame, all tiles together.

    `pixels` are those that it works on for a frame: of the pictures that it takes, or of its network's input
    where it has a field `size`, and of those that it gives; 0 for a step without pictures. `memory` is the
    resident bytes that the step adds to its process; `flowedge.profiling.memory` says how they are measured.
    `work` is the mean of the core-seconds that a frame takes, all threads together. `lock` is the share (0..1)
    of the seconds during which it has Python's global lock; None where that was not measured.

    >>> StepTime("Count", 0.03, 0.0, 9, work=0.01, lock=1.0).held  # 0.02 s it waited for a core
    0.01
    """

    operator: str
    seconds: float
    deviation: float
    frames: int
    pixels: float = 0.0
    memory: float = 0.0
    work: float = 0.0
    lock: float | None = None

    @property
    def held(self) -> float:
        """Seconds a frame for which it keeps other Python threads of its process from working."""
        return min((self.lock or 0.0) * self.seconds, self.work)


@dataclass(frozen=True, slots=True)
class StepBytes:
    """Mean bytes that a step gives for a frame, all tiles together, in the wire form of `flowedge.wire.blocks`.

    Without `quality` as it is; else with its pictures, of so many `pixels`, as JPEGs of this quality (0..100).
    `scaled` pictures are smaller than those that the step gave.
    """

    operator: str
    bytes: float
    quality: int | None = None
    pixels: float = 0.0
    scaled: bool = False


@dataclass(frozen=True)
class Measurement:
    """All that was measured of one setting; `accuracy` where the graph has a sink that knows the truth."""

    setting: Setting
    cores: int
    times: tuple[StepTime, ...]
    bytes: tuple[StepBytes, ...] = ()
    accuracy: Accuracy | None = None


@dataclass(frozen=True, slots=True)
class Fit:
    """A fitted model in words, how many points it was fitted to, and how far it misses them in `unit`.

    `left_out` is how far it misses points that were left out when it was fitted: those of one number of cores
    and pixels, one size and quality, or one resolution at a time; None where too few would be left.
    """

    what: str
    model: str
    points: int
    terms: int
    unit: str
    errors: Errors
    left_out: Errors | None


def profiles_of(measurements: Sequence[Measurement], kind: str, shares: Sequence[float] = ()) -> Profiles:
    """Profiles for nodes of this kind: every point that was measured, and parts of a core.

    For each share (below 1) of a core there is a service, called a model, that takes the time of one core for a
    frame and serves as many as that share can: operators of one process are not kept to their shares, so one
    with a tenth of a core is as quick as with a whole one while others leave it idle. It is offered where many
    frames can go through it still: else large crowds would win where only energy counts. The JPEGs of other
    qualities and sizes than are sent are kept under settings that no application has, with the names
    `jpeg_quality` and `picture_pixels`.
    """
    services = []
    for measurement in measurements:
        for step in measurement.times:
            source = f"measured: {step.frames} frames"
            service = Service(
                step.operator, kind, measurement.cores, step.seconds, deviation=step.deviation,
                memory=step.memory, setting=measurement.setting, source=source,
            )  # fmt: skip
            work = min(step.work, step.seconds) or step.seconds
            parts = [_part(service, share, work) for share in sorted(shares) if measurement.cores == 1]
            services += [*(part for part in parts if 1 / part.rate <= PART_SECONDS), service]
    first = [measurement for measurement in measurements if measurement.cores == measurements[0].cores]
    outputs = tuple(_output(step, measurement.setting) for measurement in first for step in measurement.bytes)
    accuracies = tuple(
        replace(measurement.accuracy, setting=measurement.setting)
        for measurement in first
        if measurement.accuracy
    )
    return Profiles(tuple(services), outputs, accuracies)


def free_operators(measurements: Sequence[Measurement]) -> frozenset[str]:
    """The operators that never take long enough to reserve anything for them, as `Profiles.free` has it."""
    most: dict[str, float] = defaultdict(float)
    for measurement in measurements:
        for step in measurement.times:
            most[step.operator] = max(most[step.operator], step.seconds)
    return frozenset(name for name, seconds in most.items() if seconds <= FREE_SECONDS)


def fits(measurements: Sequence[Measurement]) -> Iterator[Fit]:
    """Models of service times, bytes and accuracy, where there are points enough to tell one."""
    free = free_operators(measurements)
    times: dict[str, list[Timed]] = defaultdict(list)
    pictures: dict[str, list[Encoded]] = defaultdict(list)
    for measurement in measurements:
        for step in measurement.times:
            times[step.operator].append(Timed(measurement.cores, step.pixels, step.seconds))
        if measurement.cores == measurements[0].cores:
            for sent in measurement.bytes:
                if sent.quality is not None:
                    pictures[sent.operator].append(Encoded(sent.pixels, sent.quality, sent.bytes))
    for name, points in times.items():
        if name not in free and len({(point.cores, point.pixels) for point in points}) > 1:
            yield _SERVICE.fit(f"{name}: service time", points)
    for name, encoded in pictures.items():
        if (
            len({picture.pixels for picture in encoded}) > 1
            and len({picture.quality for picture in encoded}) > 2
        ):
            yield _BYTES.fit(f"{name}: bytes of its JPEGs", encoded)
    first = [measurement for measurement in measurements if measurement.cores == measurements[0].cores]
    yield from _accuracy_fits(
        [(measurement.setting, measurement.accuracy.value) for measurement in first if measurement.accuracy]
    )


def _part(service: Service, share: float, work: float) -> Service:
    return replace(
        service,
        cores=share,
        work=work,
        source=f"model: {share:g} of a core, with what others leave idle",
    )


def _output(step: StepBytes, chosen: Setting) -> OutputSize:
    if step.quality is None:
        return OutputSize(step.operator, step.bytes, "raw", chosen)
    source = f"measured: JPEG of quality {step.quality}"
    if step.quality == SENT_AT and not step.scaled:
        return OutputSize(step.operator, step.bytes, "jpeg", chosen, source)
    point = {"jpeg_quality": step.quality, "picture_pixels": round(step.pixels)}
    return OutputSize(step.operator, step.bytes, "jpeg", setting(**dict(chosen), **point), source)


Point = TypeVar("Point", bound=Hashable)


@dataclass(frozen=True)
class _Model(Generic[Point]):
    """A fitted model: in words, its number of terms, and what it says of a point."""

    words: str
    terms: int
    at: Callable[[Point], float]


@dataclass(frozen=True)
class _Fitting(Generic[Point]):
    """What a point's measured value is, what it is measured at, and how a model is fitted."""

    unit: str
    value: Callable[[Point], float]
    place: Callable[[Point], Hashable]
    model: Callable[[Sequence[Point]], _Model[Point]]

    def fit(self, what: str, points: Sequence[Point]) -> Fit:
        distinct = list(dict.fromkeys(points))  # what settings have in common counts once
        model, values = self.model(distinct), [self.value(point) for point in distinct]
        missed = errors([model.at(point) for point in distinct], values)
        return Fit(
            what,
            model.words,
            len(distinct),
            model.terms,
            self.unit,
            missed,
            self._left_out(distinct, model.terms),
        )

    def _left_out(self, points: Sequence[Point], terms: int) -> Errors | None:
        places = dict.fromkeys(self.place(point) for point in points)
        if len(places) <= terms:
            return None
        predicted, values = [], []
        for place in places:
            try:
                model = self.model([point for point in points if self.place(point) != place])
            except ConfigError:
                return None
            excluded = [point for point in points if self.place(point) == place]
            predicted += [model.at(point) for point in excluded]
            values += [self.value(point) for point in excluded]
        return errors(predicted, values)


def _service(points: Sequence[Timed]) -> _Model[Timed]:
    model = fit_service(points)
    return _Model(str(model), model.terms, lambda point: 1e3 * model(point.cores, point.pixels))


def _bytes(points: Sequence[Encoded]) -> _Model[Encoded]:
    model = fit_bytes(points)
    return _Model(str(model), 4, lambda point: model(point.pixels, point.quality) / 1e3)


_SERVICE = _Fitting(
    "ms", lambda point: 1e3 * point.seconds, lambda point: (point.cores, point.pixels), _service
)
_BYTES = _Fitting("kB", lambda point: point.bytes / 1e3, lambda point: (point.pixels, point.quality), _bytes)


def _accuracy_fits(points: Sequence[tuple[Setting, float]]) -> Iterator[Fit]:
    """One model of the accuracy by resolution for each setting of the other knobs."""
    for knob in RESOLUTION_KNOBS:
        groups: dict[Setting, list[tuple[float, float]]] = defaultdict(list)
        for chosen, value in points:
            at = dict(chosen).get(knob)
            if isinstance(at, (int, float)):
                groups[tuple(pair for pair in chosen if pair[0] != knob)].append((at, value))
        enough = {rest: group for rest, group in groups.items() if len({at for at, _ in group}) > 2}
        for rest, group in enough.items():
            held = ", ".join(f"{name}={value}" for name, value in rest)
            yield _accuracy(knob).fit(f"accuracy{' at ' + held if held else ''}", group)
        if enough:
            return


def _accuracy(knob: str) -> _Fitting[tuple[float, float]]:
    def model(points: Sequence[tuple[float, float]]) -> _Model[tuple[float, float]]:
        fitted = fit_accuracy(*zip(*points, strict=True))
        sign = "-" if fitted.a2 >= 0 else "+"
        words = f"{fitted.a1:.3g} {sign} {abs(fitted.a2):.3g} exp(-{knob} / {fitted.a3:.4g})"
        return _Model(words, 3, lambda point: fitted(point[0]))

    return _Fitting("", lambda point: point[1], lambda point: point[0], model)
