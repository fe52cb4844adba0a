"""How each kind of step is run: operators, splits, gathers and sinks."""

from __future__ import annotations

import itertools
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from flowedge.graph.contract import Gather, Operator, Sink, Split
from flowedge.plane.item import End, Item, Ticket, first_origin
from flowedge.runtime.runner import Runner
from flowedge.values import Detections, Frame, Outcome, Rect


class OperatorRunner(Runner):
    """Runs an `Operator` that answers at once."""

    step: Operator[Any, Any]

    def _most(self) -> int:
        return self.step.batch

    def _call(self, values: list[Any]) -> Sequence[Any]:
        results = [self.step.process(values[0])] if len(values) == 1 else self.step.process_batch(values)
        if len(results) != len(values):
            raise ValueError(f"process_batch gave {len(results)} results for {len(values)} values")
        return results

    def _deliver(self, item: Item, result: Any) -> None:
        if isinstance(result, Exception):
            self.outlet.emit(self._failed(item, result))
        elif result is None:
            self.outlet.emit(item.absent(Outcome.FILTERED, "filtered", self.name))
        else:
            self.outlet.emit(item._replace(value=result))

    def _pass_on(self, item: Item | End) -> None:
        if isinstance(item, End):
            self._attempt(self._flush, item.camera)
        super()._pass_on(item)

    def _flush(self, camera: str) -> None:
        for _ in self.step.flush(camera):
            pass  # every input has had its answer: there is no frame that this could belong to


HELD_MOST = 64
"""Frames of a camera that a delayed operator may hold back: four times what any H.264 or H.265 stream needs."""


class DelayedRunner(Runner):
    """Runs an `Operator` whose results come later, matched to their frames by origin; keeps the order."""

    step: Operator[Any, Any]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._held: dict[tuple[str, int], Item] = {}

    def _call(self, values: list[Any]) -> Sequence[Any]:
        return [self.step.process(value) for value in values]

    def _deliver(self, item: Item, result: Any) -> None:
        if isinstance(result, Exception):
            self.outlet.emit(self._failed(item, result))
            return
        self._held[item.camera, item.ticket.index] = item
        self._ledger.hold(item.ticket)
        if result is not None:
            self._attempt(self._emit, result)
        held = self._held_of(item.camera)
        if len(held) > HELD_MOST:  # a damaged packet has no picture, and nobody will ever say so
            self._release_empty(held[0])

    def _pass_on(self, item: Item | End) -> None:
        if isinstance(item, End):
            self._attempt(self._flush, item.camera)
            for key in self._held_of(item.camera):
                self._release_empty(key)
        super()._pass_on(item)

    def _flush(self, camera: str) -> None:
        for result in self.step.flush(camera):
            self._emit(result)

    def _emit(self, result: Any) -> None:
        origin = first_origin(result)
        self._release((origin.camera, origin.index), lambda held: held._replace(value=result))

    def _held_of(self, camera: str) -> list[tuple[str, int]]:
        return [key for key in self._held if key[0] == camera]

    def _release_empty(self, key: tuple[str, int]) -> None:
        self._release(key, lambda held: held.absent(Outcome.FAILED, "no result", self.name))

    def _release(self, key: tuple[str, int], ending: Callable[[Item], Item]) -> None:
        held = self._held.pop(key, None)
        if held is None:
            raise ValueError(
                f"{self.name} gave a result for frame {key}, which it was not given or gave already"
            )
        self._ledger.unhold(held.ticket)
        self.outlet.emit(ending(held))


class SplitRunner(Runner):
    """Runs a `Split`; notes on the frame's ticket what each part shows."""

    step: Split[Any, Any]

    def _call(self, values: list[Any]) -> Sequence[Any]:
        parts = [list(self.step.split(value)) for value in values]
        if not all(parts):
            raise ValueError("split gave no parts; at least one is needed")
        return parts

    def _deliver(self, item: Item, result: Any) -> None:
        if isinstance(result, Exception):
            self.outlet.emit(self._failed(item, result))
            return
        item.ticket.regions[self.name] = [part.region for part in result if isinstance(part, Frame)]
        for index, part in enumerate(result):
            self.outlet.emit(item._replace(value=part, part=index, parts=len(result)))


@dataclass
class _Gathering:
    """The parts of one frame that have come; `parts` is how many there are."""

    item: Item
    since: float
    came: dict[int, Item] = field(default_factory=dict)

    @property
    def whole(self) -> bool:
        return len(self.came) == self.item.parts


class GatherRunner(Runner):
    """Runs a `Gather` on the frames of each camera in order; `split` names where the parts came from."""

    step: Gather[Any, Any]

    def __init__(self, *args: Any, split: str, done: Callable[[Ticket], None], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._split = split
        self._done = done
        self._open: dict[str, OrderedDict[Ticket, _Gathering]] = {}
        self._late: dict[Ticket, int] = {}

    def _handle_all(self, taken: Sequence[tuple[Item | End, float]]) -> None:
        for item, waited in taken:
            if isinstance(item, End):
                self._finish(item.camera, everything=True)
                self.outlet.emit(item)
                continue
            self.metrics.wait.add(waited)
            if item.ticket in self._late:
                self._came_late(item.ticket)
                continue
            frames = self._open.setdefault(item.camera, OrderedDict())
            frames.setdefault(item.ticket, _Gathering(item, time.monotonic())).came[item.part] = item
        for camera in list(self._open):
            self._finish(camera)

    def _patience(self) -> float | None:
        deadlines = [self._due(gathering) for frames in self._open.values() for gathering in frames.values()]
        soonest = min(deadlines, default=float("inf"))
        return None if soonest == float("inf") else max(0.0, soonest - time.monotonic())

    def _due(self, gathering: _Gathering) -> float:
        return gathering.since + self.step.deadline if gathering.item.ticket.live else float("inf")

    def _finish(self, camera: str, *, everything: bool = False) -> None:
        """Let go of the camera's oldest frames as long as they are whole or overdue."""
        frames = self._open.get(camera, OrderedDict())
        while frames:
            ticket, gathering = next(iter(frames.items()))
            if not (gathering.whole or everything or self._due(gathering) <= time.monotonic()):
                return
            del frames[ticket]
            if gathering.whole:
                self._done(ticket)
            else:
                self._late[ticket] = gathering.item.parts - len(gathering.came)
            self._gather(gathering)

    def _came_late(self, ticket: Ticket) -> None:
        self._late[ticket] -= 1
        if not self._late[ticket]:
            del self._late[ticket]
            self._done(ticket)

    def _gather(self, gathering: _Gathering) -> None:
        came = [gathering.came[index] for index in sorted(gathering.came)]
        values = [item for item in came if item.is_value]
        frame = gathering.item._replace(part=0, parts=1)
        if not values:
            self.outlet.emit(frame._replace(value=came[0].value))
            return
        present = {item.part for item in values}
        regions = gathering.item.ticket.regions.get(self._split, [])
        missing = _unseen(
            [region for index, region in enumerate(regions) if index not in present],
            [region for index, region in enumerate(regions) if index in present],
        )
        self.metrics.partial += len(values) < gathering.item.parts
        joint = frame._replace(value=tuple(item.value for item in values))
        (result,) = self._results([joint])
        self._deliver(joint, _without(result, missing))

    def _call(self, values: list[Any]) -> Sequence[Any]:
        return [self.step.gather(parts) for parts in values]

    def _deliver(self, item: Item, result: Any) -> None:
        if isinstance(result, Exception):
            self.outlet.emit(self._failed(item, result))
        else:
            self.outlet.emit(item._replace(value=result))


class SinkRunner(Runner):
    """Runs a `Sink` and accounts for each frame; `on_end` is told when a camera's stream is over."""

    step: Sink[Any]

    def __init__(self, *args: Any, on_end: Callable[[str, str], None], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._on_end = on_end

    def _call(self, values: list[Any]) -> Sequence[Any]:
        return [self.step.write(value) for value in values]

    def _deliver(self, item: Item, result: Any) -> None:
        if isinstance(result, Exception):
            self._pass_on(self._failed(item, result))
        else:
            self._ledger.delivered(item.ticket, self.name)

    def _pass_on(self, item: Item | End) -> None:
        if isinstance(item, Item):
            self._ledger.end(item.ticket, self.name, item.value)
            return
        self._attempt(self.step.end, item.camera)
        self._on_end(self.name, item.camera)


def _unseen(lost: list[Rect], came: list[Rect]) -> tuple[Rect, ...]:
    """The regions of lost parts that nobody looked at as closely.

    A whole frame that was lost beside its tiles hides nothing; a lost tile hides what it shows though the whole
    frame came, at a coarser scale.
    """
    return tuple(
        region
        for region in lost
        if not _covered(
            region,
            [other for other in came if _area(other) <= _area(region)]
            + [other for other in lost if _area(other) < _area(region)],
        )
    )


def _covered(region: Rect, others: list[Rect]) -> bool:
    """Whether rectangles together cover a region: each cell between their edges lies in one of them."""
    left, top, right, bottom = region
    xs = {left, *(x for other in others for x in other[::2] if left < x < right)}
    ys = {top, *(y for other in others for y in other[1::2] if top < y < bottom)}
    return all(any(a <= x < c and b <= y < d for a, b, c, d in others) for x, y in itertools.product(xs, ys))


def _area(region: Rect) -> int:
    return (region[2] - region[0]) * (region[3] - region[1])


def _without(result: Any, missing: tuple[Rect, ...]) -> Any:
    """A gathered result that says which regions nobody looked at."""
    if missing and isinstance(result, Detections):
        return replace(result, missing=(*result.missing, *missing))
    return result
