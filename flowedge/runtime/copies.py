"""The running copies of a step: one for each way in which the frames in the graph go through it.

When a plan changes a step's setting or its workers, frames that are on their way keep to the copy of their
route; those admitted later go to a new copy. So nothing waits for a model to load, and no frame sees two
settings. What a camera's frames left behind in the old copy goes over to the new one with the first of its
frames that comes there.
"""

from __future__ import annotations

import copy
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from flowedge.graph.contract import State
from flowedge.plane.item import Item
from flowedge.runtime.failures import described

log = logging.getLogger("flowedge.run")


class Remote(Protocol):
    """Copies of a step, or of a chain of them, on workers; `flowedge.runtime.replicas` has them."""

    def send(self, item: Item) -> bool:
        """Give an item to one of them, once there is room; False where they are gone for good."""

    def end(self, camera: str, ended: Callable[[], None]) -> None:
        """Forget a camera, whose stream has ended; `ended` is called when that is done."""

    def close(self) -> None:
        """Release them."""


@dataclass(frozen=True, eq=False)
class Copy:
    """A step as `configured`, at work as `step` in this process, or on the `workers` behind `remote`.

    There it may be followed by others: `then` has these steps after what runs them elsewhere.
    """

    configured: Any
    workers: tuple[str, ...]
    step: Any
    remote: Remote | None = None
    then: tuple[tuple[Any, Any], ...] = ()

    @property
    def state(self) -> Any:
        """What is asked for the state of a camera, and told to close."""
        return self.step if self.remote is None else self.remote


class Copies:
    """The copies of one step by route. One thread takes items to them; another adds and removes routes."""

    def __init__(self, step: Any) -> None:
        self.current = Copy(step, (), copy.deepcopy(step))
        self._by_route: dict[int, Copy] = {0: self.current}  # replaced, not changed: others look without a lock
        self._unrouted: list[Copy] = []
        self._last: dict[str, Copy] = {}  # the copy that keeps the state of a camera
        self._keeps_state = step.state is not State.NONE
        self._told = False
        self.all_alike = not self._keeps_state
        """Whether it makes no difference which copy an item goes to: there is one, and it keeps nothing."""

    def like(self, step: Any, workers: tuple[str, ...], then: tuple[tuple[Any, Any], ...]) -> Copy | None:
        """The copy that is configured so, works there and is followed by that, if there is one."""
        alike = (known for known in self._by_route.values() if known.workers == workers and known.then == then)
        return next((known for known in alike if known.configured == step), None)

    def add(self, route: int, new: Copy) -> None:
        """Let the frames of a route go to this copy."""
        self.all_alike = self.all_alike and new is self.current
        self._by_route = {**self._by_route, route: new}

    def turn_to(self, item: Item) -> Copy:
        """Make the copy for this item the current one, and give it what is kept of the item's camera.

        Parts that were waited for too long can come when their route is no more; what they give is not used.
        """
        chosen = self.current = self._by_route.get(item.route, self.current)
        if self._keeps_state:
            last = self._last.get(item.camera)
            if last is not None and last is not chosen:
                self._hand_over(item.camera, last, chosen)
            self._last[item.camera] = chosen
        return chosen

    def end(self, camera: str) -> Copy:
        """The copy that keeps the state of a camera whose stream has ended."""
        return self._last.pop(camera, self.current)

    def remove(self, route: int) -> None:
        """Let no more items go to the copy of a route, unless another route needs it."""
        others = {number: known for number, known in self._by_route.items() if number != route}
        gone = self._by_route.get(route)
        if gone is not None and gone not in others.values():
            self._unrouted.append(gone)
            if self.current is gone:
                self.current = next(iter(others.values()))
        self._by_route = others

    def release(self) -> bool:
        """Close copies without a route that keep no camera's state; whether all are closed."""
        for gone in list(self._unrouted):
            if gone not in list(self._last.values()):
                self._unrouted.remove(gone)
                gone.state.close()
        return not self._unrouted

    def close(self) -> None:
        """Close every copy; raises what the first raises that cannot be closed."""
        errors: list[BaseException] = []
        for known in dict.fromkeys((*self._by_route.values(), *self._unrouted)):
            try:
                known.state.close()
            except BaseException as error:
                errors.append(error)
        if errors:
            raise errors[0]

    def _hand_over(self, camera: str, last: Copy, chosen: Copy) -> None:
        """Give a copy the state that another has of a camera; it begins anew where that cannot be had."""
        try:
            state = last.state.snapshot(camera) if chosen.configured.has_snapshot else None
            if state is not None:
                chosen.state.restore(camera, state)
                return
            if chosen.remote is None:  # it may have seen the camera before
                deque(chosen.step.flush(camera), maxlen=0)
            reason = "it has no snapshot" if not chosen.configured.has_snapshot else ""
        except Exception as error:
            reason = described(error)
        if reason and not self._told:
            self._told = True
            log.warning("%s begins anew in its new setting: %s", chosen.configured.name, reason)
