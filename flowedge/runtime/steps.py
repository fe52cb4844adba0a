"""How each kind of step is run: operators, splits, gathers and sinks."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from flowedge.errors import RunError
from flowedge.graph.contract import Gather, Operator, Sink, Split
from flowedge.graph.synchronization import Synchronize
from flowedge.plane.clock import Clock
from flowedge.plane.item import End, Item, first_origin
from flowedge.plane.reassembly import Assembled, Reassembly
from flowedge.plane.synchronizer import Synchronizer
from flowedge.runtime.ledger import Ledger
from flowedge.runtime.runner import Inbox, Passage, Runner
from flowedge.values import Absent, Detections, Frame, FrameId, Outcome

log = logging.getLogger("flowedge.run")

GIVEN_UP = 1000
"""Frames that were waited for too long and whose results are still recognized when they come."""


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
            self.outlet.emit(item.with_value(result))

    def _pass_on(self, item: Item | End) -> None:
        if isinstance(item, Passage):
            if item.at == self.name:
                item.reached()
                return
        elif isinstance(item, End):
            self._attempt(self._flush, item.camera, work_of=f"the end of {item.camera}")
        super()._pass_on(item)

    def _flush(self, camera: str) -> None:
        last = self._copies.end(camera)
        if last.remote is not None:
            ended = threading.Event()
            last.remote.end(camera, ended.set)
            ended.wait()
            return
        count = sum(1 for _ in last.step.flush(camera))
        if count:  # every input has had its answer: there is no frame that this could belong to
            log.error(
                "%s: flush gave %d values at the end of %s, discarded: only a delayed operator has any",
                self.name, count, camera,
            )  # fmt: skip


class SynchronizeRunner(OperatorRunner):
    """Runs a `Synchronize`, whose work is done in its inbox."""

    step: Synchronize[Any]

    def _new_inbox(self, *, shed: bool, clock: Clock) -> Inbox:  # noqa: ARG002
        step = self.step
        return Synchronizer(self.name, step.pair, tolerance=step.tolerance, deadline=step.deadline, clock=clock)


_Held: TypeAlias = "OrderedDict[FrameId, Item]"
"""What a delayed operator was given and has not answered, the oldest first."""


class DelayedRunner(Runner):
    """Runs an `Operator` whose results come later, matched by origin to what it was given; keeps the order.

    At most `held_back` frames of a camera wait for their result; `ledger` gives their places to others. One
    that waited longer has failed, "no result", and what comes for it later is ignored.
    """

    step: Operator[Any, Any]

    def __init__(self, step: Operator[Any, Any], *, ledger: Ledger, held_back: int, **common: Any) -> None:
        super().__init__(step, **common)
        self._ledger = ledger
        self._held_back = held_back
        self._held: defaultdict[str, _Held] = defaultdict(OrderedDict)
        self._given_up: deque[FrameId] = deque(maxlen=GIVEN_UP)

    def _call(self, values: list[Any]) -> Sequence[Any]:
        return [self.step.process(value) for value in values]

    def _deliver(self, item: Item, result: Any) -> None:
        held, key = self._held[item.camera], first_origin(item.value).frame_id
        if key in held:
            result = self._give_up(
                RunError(f"{self.name} was given frame {item.frame.index} of {item.camera} twice")
            )
        if isinstance(result, Exception):
            self.outlet.emit(self._failed(item, result))
            return
        held[key] = item
        for frame in item.frames:
            self._ledger.hold(frame)
        if result is not None:
            self._attempt(self._emit, result)
        if len(held) > self._held_back:  # a damaged packet has no picture, and nobody will ever say so
            self._given_up.append(next(iter(held)))
            self._release_empty(held, self._given_up[-1])

    def _pass_on(self, item: Item | End) -> None:
        if isinstance(item, End):
            self._attempt(self._flush, item.camera, work_of=f"the end of {item.camera}")
            held = self._held.pop(item.camera, OrderedDict())
            for key in list(held):
                self._release_empty(held, key)
        super()._pass_on(item)

    def _flush(self, camera: str) -> None:
        for result in self.step.flush(camera):
            checked = self._checked(result)
            if isinstance(checked, TypeError):
                raise checked
            self._emit(result)

    def _emit(self, result: Any) -> None:
        origin = first_origin(result)
        held, key = self._held[origin.camera], origin.frame_id
        if key in self._given_up:  # too late: the frame has been counted as failed, "no result"
            log.debug("%s: the result for frame %d of %s came too late", self.name, origin.index, origin.camera)
            return
        if key not in held:
            raise ValueError(
                f"{self.name} gave a result for frame {origin.index} of {origin.camera} (session "
                f"{origin.session}), which it was not given or gave already"
            )
        self._release(held, key, lambda item: item.with_value(result))

    def _release_empty(self, held: _Held, key: FrameId) -> None:
        self._release(held, key, lambda item: item.absent(Outcome.FAILED, "no result", self.name))

    def _release(self, held: _Held, key: FrameId, ending: Callable[[Item], Item]) -> None:
        item = held.pop(key)
        for frame in item.frames:
            self._ledger.unhold(frame)
        self.outlet.emit(ending(item))


class SplitRunner(Runner):
    """Runs a `Split`; every part takes with it what all parts show."""

    step: Split[Any, Any]

    def _call(self, values: list[Any]) -> Sequence[Any]:
        parts = [list(self.step.split(value)) for value in values]
        if not all(parts):
            raise ValueError("split gave no parts; at least one is needed")
        return parts

    def _checked(self, result: Any) -> Any:
        checked = map(super()._checked, result)
        return next((part for part in checked if isinstance(part, TypeError)), result)

    def _deliver(self, item: Item, result: Any) -> None:
        if isinstance(result, Exception):
            self.outlet.emit(self._failed(item, result))
            return
        regions = tuple(part.region if isinstance(part, Frame) else None for part in result)
        for index, part in enumerate(result):
            self.outlet.emit(item._replace(value=part, part=index, parts=len(result), regions=regions))


class GatherRunner(Runner):
    """Runs a `Gather` on what a `Reassembly` makes of the parts; `on_complete` is called by that."""

    step: Gather[Any, Any]

    def __init__(
        self, step: Gather[Any, Any], *, on_complete: Callable[[FrameId], None], **common: Any
    ) -> None:
        self._on_complete = on_complete
        super().__init__(step, **common)

    def _new_inbox(self, *, shed: bool, clock: Clock) -> Inbox:  # noqa: ARG002
        self._parts = Reassembly(
            self.name, deadline=self.step.deadline, on_complete=self._on_complete, clock=clock
        )
        return self._parts

    def prepare(self, route: int, step: Any, *arguments: Any) -> None:
        self._parts.deadlines[route] = step.deadline  # before frames of the route come
        super().prepare(route, step, *arguments)

    def retire(self, route: int) -> None:
        super().retire(route)
        self._parts.deadlines.pop(route, None)

    def _call(self, values: list[Assembled]) -> Sequence[Any]:
        self.metrics.partial += sum(not assembled.complete for assembled in values)
        return [_marked(self.step.gather(assembled.parts), assembled) for assembled in values]

    def _deliver(self, item: Item, result: Any) -> None:
        if isinstance(result, Exception):
            self.outlet.emit(self._failed(item, result))
        else:
            self.outlet.emit(item.with_value(result))


class SinkRunner(Runner):
    """Runs a `Sink` and tells the `ledger` how each frame ended; `on_end` that a camera's stream is over."""

    step: Sink[Any]

    def __init__(
        self, step: Sink[Any], *, ledger: Ledger, on_end: Callable[[str, str], None], **common: Any
    ) -> None:
        super().__init__(step, **common)
        self._ledger = ledger
        self._on_end = on_end

    def _call(self, values: list[Any]) -> Sequence[Any]:
        return [self.step.write(value) for value in values]

    def _deliver(self, item: Item, result: Any) -> None:
        if isinstance(result, Exception):
            self._pass_on(self._failed(item, result))
        else:
            self._end(item, None)

    def _pass_on(self, item: Item | End) -> None:
        if isinstance(item, Item):
            self._end(item, item.value)
            return
        self._attempt(self.step.end, item.camera, work_of=f"the end of {item.camera}")
        self._on_end(self.name, item.camera)

    def _end(self, item: Item, absent: Absent | None) -> None:
        for frame in item.frames:
            self._ledger.end(frame, self.name, absent)


def _marked(result: Any, assembled: Assembled) -> Any:
    """A gathered result that says which regions nobody looked at."""
    if assembled.missing and isinstance(result, Detections):
        return replace(result, missing=(*result.missing, *assembled.missing))
    return result
