"""From what was measured of a graph's operators to profiles and fitted models.

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
"""An operator that would take longer than this for a frame with a part of a core is not offered that part."""

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
    `work` is the mean of the core-seconds that a frame takes, all threads together.
    """

    operator: str
    seconds: float
    deviation: float
    frames: int
    pixels: float = 0.0
    memory: float = 0.0
    work: float = 0.0


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

    For each share (below 1) of a core there is a service in 1 / share the time of one core, called a model, for
    operators that are still quick then: else slow crowds would win where only energy counts. The JPEGs of other
    qualities and sizes than are sent are kept under settings that no application has, with the names
    `jpeg_quality` and `picture_pixels`.
    """
    services = []
    for each in measurements:
        for step in each.times:
            source = f"measured: {step.frames} frames"
            service = Service(
                step.operator, kind, each.cores, step.seconds, deviation=step.deviation, memory=step.memory,
                setting=each.setting, source=source,
            )  # fmt: skip
            parts = [_part(service, share) for share in sorted(shares) if each.cores == 1]
            services += [*(part for part in parts if part.seconds <= PART_SECONDS), service]
    first = [each for each in measurements if each.cores == measurements[0].cores]
    outputs = tuple(_output(step, each.setting) for each in first for step in each.bytes)
    accuracies = tuple(replace(each.accuracy, setting=each.setting) for each in first if each.accuracy)
    return Profiles(tuple(services), outputs, accuracies)


def free_operators(measurements: Sequence[Measurement]) -> frozenset[str]:
    """The operators that never take long enough to reserve anything for them, as `Profiles.free` has it."""
    most: dict[str, float] = defaultdict(float)
    for each in measurements:
        for step in each.times:
            most[step.operator] = max(most[step.operator], step.seconds)
    return frozenset(name for name, seconds in most.items() if seconds <= FREE_SECONDS)


def fits(measurements: Sequence[Measurement]) -> Iterator[Fit]:
    """Models of service times, bytes and accuracy, where there are points enough to tell one."""
    free = free_operators(measurements)
    times: dict[str, list[Timed]] = defaultdict(list)
    pictures: dict[str, list[Encoded]] = defaultdict(list)
    for each in measurements:
        for step in each.times:
            times[step.operator].append(Timed(each.cores, step.pixels, step.seconds))
        if each.cores == measurements[0].cores:
            for sent in each.bytes:
                if sent.quality is not None:
                    pictures[sent.operator].append(Encoded(sent.pixels, sent.quality, sent.bytes))
    for name, points in times.items():
        if name not in free and len({(each.cores, each.pixels) for each in points}) > 1:
            yield _SERVICE.fit(f"{name}: service time", points)
    for name, encoded in pictures.items():
        if len({each.pixels for each in encoded}) > 1 and len({each.quality for each in encoded}) > 2:
            yield _BYTES.fit(f"{name}: bytes of its JPEGs", encoded)
    first = [each for each in measurements if each.cores == measurements[0].cores]
    yield from _accuracy_fits([(each.setting, each.accuracy.value) for each in first if each.accuracy])


def _part(service: Service, share: float) -> Service:
    return replace(
        service,
        cores=share,
        seconds=service.seconds / share,
        deviation=service.deviation / share,
        source=f"model: {share:g} of the time of one core",
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
        known = list(dict.fromkeys(points))  # what settings have in common counts once
        model, right = self.model(known), [self.value(each) for each in known]
        missed = errors([model.at(each) for each in known], right)
        return Fit(
            what, model.words, len(known), model.terms, self.unit, missed, self._left_out(known, model.terms)
        )

    def _left_out(self, points: Sequence[Point], terms: int) -> Errors | None:
        places = dict.fromkeys(self.place(each) for each in points)
        if len(places) <= terms:
            return None
        found, right = [], []
        for place in places:
            try:
                model = self.model([each for each in points if self.place(each) != place])
            except ConfigError:
                return None
            out = [each for each in points if self.place(each) == place]
            found += [model.at(each) for each in out]
            right += [self.value(each) for each in out]
        return errors(found, right)


def _service(points: Sequence[Timed]) -> _Model[Timed]:
    model = fit_service(points)
    return _Model(str(model), model.terms, lambda each: 1e3 * model(each.cores, each.pixels))


def _bytes(points: Sequence[Encoded]) -> _Model[Encoded]:
    model = fit_bytes(points)
    return _Model(str(model), 4, lambda each: model(each.pixels, each.quality) / 1e3)


_SERVICE = _Fitting("ms", lambda each: 1e3 * each.seconds, lambda each: (each.cores, each.pixels), _service)
_BYTES = _Fitting("kB", lambda each: each.bytes / 1e3, lambda each: (each.pixels, each.quality), _bytes)


def _accuracy_fits(points: Sequence[tuple[Setting, float]]) -> Iterator[Fit]:
    """One model of the accuracy by resolution for each setting of the other knobs."""
    for knob in RESOLUTION_KNOBS:
        groups: dict[Setting, list[tuple[float, float]]] = defaultdict(list)
        for chosen, value in points:
            at = dict(chosen).get(knob)
            if isinstance(at, (int, float)):
                groups[tuple(pair for pair in chosen if pair[0] != knob)].append((at, value))
        enough = {rest: found for rest, found in groups.items() if len({at for at, _ in found}) > 2}
        for rest, found in enough.items():
            held = ", ".join(f"{name}={value}" for name, value in rest)
            yield _accuracy(knob).fit(f"accuracy{' at ' + held if held else ''}", found)
        if enough:
            return


def _accuracy(knob: str) -> _Fitting[tuple[float, float]]:
    def model(points: Sequence[tuple[float, float]]) -> _Model[tuple[float, float]]:
        found = fit_accuracy(*zip(*points, strict=True))
        sign = "-" if found.a2 >= 0 else "+"
        words = f"{found.a1:.3g} {sign} {abs(found.a2):.3g} exp(-{knob} / {found.a3:.4g})"
        return _Model(words, 3, lambda each: found(each[0]))

    return _Fitting("", lambda each: each[1], lambda each: each[0], model)
