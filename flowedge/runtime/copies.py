"""The running copies of a step: one for each way in which the frames in the graph go through it.

When a plan changes a step's setting or its workers, frames that are on their way keep to the copy of their
route; those admitted later go to a new copy. So nothing waits for a model to load, and no frame sees two
settings. What a camera's frames left behind in the old copy goes over to the new one with the first of its
frames that comes there.
"""

from __future__ import annotations

import contextlib
import copy
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from flowedge.errors import described
from flowedge.graph.contract import State
from flowedge.plane.item import Item
from flowedge.runtime.workers.camera_states import new_epoch
from flowedge.runtime.workers.chain import pack_states, unpack_states

log = logging.getLogger("flowedge.run")


class Remote(Protocol):
    """Copies of a step, or of a chain of them, on workers; `flowedge.runtime.workers.replicas` has them."""

    def send(self, item: Item) -> bool:
        """Give an item to one of them, once there is room; False where they are gone for good."""

    def hand_over(self, camera: str) -> tuple[Mapping[str, Any], int | None]:
        """Give the state of a camera away, by step, and the epoch in which its identities must go on if any."""

    def take_over(self, camera: str, states: Mapping[str, Any], epoch: int | None) -> None:
        """Go on with what `hand_over` gave."""

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

    def hand_over(self, camera: str) -> tuple[Any, int | None]:
        """Give the state of a camera away, and forget the camera: the state is in one copy at any time.

        None where there is no state; the number is the epoch in which identities must go on, if a new one has
        begun. Raises what the step or its worker raises.
        """
        if self.remote is not None:
            states, epoch = self.remote.hand_over(camera)
            return states.get(self.configured.name), epoch
        try:
            return self.step.snapshot(camera), None
        finally:
            deque(self.step.flush(camera), maxlen=0)

    def take_over(self, camera: str, state: Any, epoch: int | None) -> None:
        """Go on with what `hand_over` of another copy gave. Raises as that."""
        if self.remote is not None:
            self.remote.take_over(camera, {} if state is None else {self.configured.name: state}, epoch)
            return
        if state is not None:
            self.step.restore(camera, state)
        if epoch is not None:
            self.step.renumber(camera, epoch)

    def close(self) -> None:
        """Release the step, or its copies on workers."""
        (self.step if self.remote is None else self.remote).close()


@dataclass(frozen=True, eq=False)
class Checkpointed(Copy):
    """A copy that has been released; `checkpoints` has for each camera that it had what `hand_over` gives."""

    checkpoints: Mapping[str, tuple[bytes, int | None]] = field(default_factory=dict)

    def hand_over(self, camera: str) -> tuple[Any, int | None]:
        """The state of a camera as it was; None where there was none."""
        packed, epoch = self.checkpoints.get(camera, (b"", None))
        return unpack_states(packed).get(self.configured.name), epoch

    def close(self) -> None:
        """There is nothing to release."""


class Copies:
    """The copies of one step by route.

    One thread takes items to them (`turn_to`, `end`, and `close` at last); others add and remove routes.
    `current` is the copy that the one thread uses, or has used last.
    """

    def __init__(self, step: Any) -> None:
        self.current = Copy(step, (), copy.deepcopy(step))
        self._by_route: dict[int, Copy] = {0: self.current}
        self._unrouted: list[Copy] = []
        self._lock = threading.Lock()  # so that no copy is closed between being chosen and being `current`
        self._last: dict[str, Copy] = {}  # the copy that keeps the state of a camera
        self._keeps_state = step.state is not State.NONE
        self._told = False
        self.all_alike = not self._keeps_state
        """Whether it makes no difference which copy an item goes to: there is one, and it keeps nothing."""

    def like(self, step: Any, workers: tuple[str, ...], then: tuple[tuple[Any, Any], ...]) -> Copy | None:
        """The copy that is configured so, works there and is followed by that, if there is one."""
        with self._lock:
            routed = list(self._by_route.values())
        alike = (known for known in routed if known.workers == workers and known.then == then)
        return next((known for known in alike if known.configured == step), None)

    def add(self, route: int, new: Copy) -> None:
        """Let the frames of a route go to this copy."""
        with self._lock:
            if isinstance(self.current, Checkpointed) and not self._keeps_state:
                self.current = new
            self.all_alike = self.all_alike and new is self.current
            self._by_route[route] = new

    def pass_by(self, route: int) -> None:
        """Let a route, none of whose frames comes here, have the copy of the latest other one."""
        with self._lock:
            if self._by_route:  # else it has been checkpointed, and no copy is needed
                self._by_route[route] = next(reversed(self._by_route.values()))

    def turn_to(self, item: Item) -> Copy:
        """Make the copy for this item the current one, and give it what is kept of the item's camera.

        Parts that were waited for too long can come when their route is no more; what they give is not used.
        """
        with self._lock:
            chosen = self.current = self._by_route.get(item.route, self.current)
        if self._keeps_state:
            last = self._last.get(item.camera)
            if last is not None and last is not chosen:
                self._hand_over(item.camera, last, chosen)
            self._last[item.camera] = chosen
        return chosen

    def end(self, camera: str) -> Copy:
        """The copy that keeps the state of a camera whose stream has ended: it is the current one now."""
        with self._lock:
            self.current = self._last.pop(camera, self.current)
            return self.current

    def remove(self, route: int) -> None:
        """Let no more items go to the copy of a route, unless another route needs it."""
        with self._lock:
            gone = self._by_route.pop(route, None)
            if gone is not None and gone not in self._by_route.values():
                self._unrouted.append(gone)

    def take_unused(self) -> list[Copy]:
        """Those without a route that are not in use and keep no camera's state: whoever asks closes them."""
        with self._lock:
            needed = {self.current, *self._last.values()}
            unused = [gone for gone in self._unrouted if gone not in needed]
            self._unrouted = [gone for gone in self._unrouted if gone in needed]
        return unused

    def checkpoint(self) -> None:
        """Keep the state of each camera as bytes, and release every copy, while no item is on its way.

        Routes need new copies then (`add`), to which the states go with the first item of each camera, which
        begins anew where its state cannot be had. Raises what the first copy raises that cannot be closed.
        """
        kept: dict[Copy, dict[str, tuple[bytes, int | None]]] = {}
        for camera, last in self._last.items():
            kept.setdefault(last, {})[camera] = self._checkpoint_of(camera, last)
        with self._lock:
            released = dict.fromkeys((*self._by_route.values(), *self._unrouted))
            saved = {
                gone: Checkpointed(
                    gone.configured, (), copy.deepcopy(gone.configured), checkpoints=kept.get(gone, {})
                )
                for gone in dict.fromkeys((self.current, *kept))
            }
            self.current = saved[self.current]
            self._last = {camera: saved[last] for camera, last in self._last.items()}
            self._by_route, self._unrouted = {}, []
            self.all_alike = not self._keeps_state
        _close(released)

    def close(self) -> None:
        """Close every copy; raises what the first raises that cannot be closed."""
        with self._lock:
            left = dict.fromkeys((*self._by_route.values(), *self._unrouted))
            self._by_route, self._unrouted = {}, []
        _close(left)

    def _checkpoint_of(self, camera: str, last: Copy) -> tuple[bytes, int | None]:
        try:
            state, epoch = last.hand_over(camera)
            return pack_states(camera, {} if state is None else {last.configured.name: state}), epoch
        except Exception as error:
            log.error("%s: the state of %s is lost: %s", last.configured.name, camera, described(error))
            return b"", new_epoch()

    def _hand_over(self, camera: str, last: Copy, chosen: Copy) -> None:
        """Give a copy the state that another has of a camera; it begins anew where that cannot be had."""
        try:
            chosen.take_over(camera, *last.hand_over(camera))
            if chosen.configured.has_snapshot:
                return
            reason = "it has no snapshot"
        except Exception as error:
            reason = described(error)
        with contextlib.suppress(Exception):  # that there is no state says more
            chosen.take_over(camera, None, new_epoch())
        if not self._told:
            self._told = True
            log.warning("%s begins anew in its new setting: %s", chosen.configured.name, reason)


def _close(copies: Iterable[Copy]) -> None:
    """Close all of them; raises what the first raises that cannot be closed."""
    errors: list[BaseException] = []
    for gone in copies:
        try:
            gone.close()
        except BaseException as error:
            errors.append(error)
    if errors:
        raise errors[0]
