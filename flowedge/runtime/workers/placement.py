"""Which copy of a chain works on an item: by a dispatch policy, or where the state of its camera is."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from flowedge.dispatch.policy import DispatchPolicy
from flowedge.dispatch.workers import Request as Query
from flowedge.dispatch.workers import Workers
from flowedge.errors import ConfigError
from flowedge.graph.contract import Operator, State
from flowedge.graph.synchronization import Synchronize
from flowedge.plane.item import Item
from flowedge.plane.transports.requests import Restore
from flowedge.runtime.workers.link import Link

_QUERY = Query(application=0, deadline=float("inf"))

_FIRST_GUESS = 0.01  # seconds of service, before the first answer
_LEARNING = 0.2  # weight of the newest service time
_NOTEWORTHY = 0.05  # change of the mean service time that the policy is told of

Key: TypeAlias = tuple[str, int]
"""A camera, and the part of its frames where the state is one of tiles."""


@dataclass(eq=False)
class Sent:
    """An item that is on its way: `number` of its request at `copy`, sent `since`, behind `ahead` others.

    `link` is that of the copy when it was placed there, which may have another one soon after. `restores` goes
    before it, with the camera's `state`.
    """

    item: Item
    deaths: int = 0
    losses: int = 0
    copy: Copy | None = None
    link: Link | None = None
    number: int = 0
    since: float = 0.0
    ahead: int = 0
    restores: Restore | None = None
    state: bytes = b""

    def again(self, *, deaths: int = 0, losses: int = 0) -> Sent:
        """The item, to be sent anew.

        It is not this one, which the thread that sends it may have in hand still: that must not go where the
        new one does, or a frame would be worked on twice.
        """
        return Sent(self.item, self.deaths + deaths, self.losses + losses)


@dataclass(eq=False)
class Copy:
    """A copy of the chain on a worker: `link` is None while it is not there, `outstanding` is in order.

    Cameras in `to_restore` need their state before their next item.
    """

    index: int
    worker: str
    link: Link | None = None
    is_lost: bool = False
    service: float = _FIRST_GUESS
    to_restore: set[str] = field(default_factory=set)
    outstanding: OrderedDict[int, Sent] = field(default_factory=OrderedDict)


class Placement:
    """The copies of a chain, what each is sent, and which one is next. Its owner has a lock.

    Without state `policy` chooses among the copies that have room; it is told how long they take. With state an
    item goes where its camera (or tile) is bound: at first to the copy with the fewest of them.
    """

    def __init__(
        self, state: State, workers: Sequence[str], *, room: int, batch: int, policy: DispatchPolicy
    ) -> None:
        self.state = state
        self.copies = [Copy(index, worker) for index, worker in enumerate(workers)]
        self.bound: dict[Key, Copy] = {}
        self._room = max(room, batch)
        self._batch = batch
        self._policy = policy
        self._random = np.random.default_rng(0)
        self._table = _table(len(workers))

    @property
    def links(self) -> list[Link]:
        """Those of the copies that are there."""
        return [copy.link for copy in self.copies if copy.link]

    @property
    def outstanding(self) -> list[Sent]:
        """What has been sent and not answered."""
        return [sent for copy in self.copies for sent in copy.outstanding.values()]

    def of(self, worker: str) -> Copy:
        """The copy on a worker."""
        return next(copy for copy in self.copies if copy.worker == worker)

    def chosen(self, sent: Sent) -> Copy | None:
        """The copy for an item, if there is one with room."""
        if self.state is State.NONE:
            return self._dispatched(sent)
        copy = self.bound.get(self.key(sent.item)) or self._emptiest()
        return copy if copy is not None and self._has_room(copy, sent) else None

    def key(self, item: Item) -> Key:
        """What an item's state is one of."""
        if self.state is State.GLOBAL:
            return "", 0
        return item.camera, item.part if self.state is State.PER_TILE else 0

    def add(self, sent: Sent) -> None:
        """Note that an item is sent to its copy."""
        copy = sent.copy
        assert copy is not None
        sent.ahead = len(copy.outstanding)
        copy.outstanding[sent.number] = sent
        self._count(copy)

    def remove(self, copy: Copy, number: int) -> Sent | None:
        """The item that a copy has answered; None where that was settled before."""
        sent = copy.outstanding.pop(number, None)
        self._count(copy)
        return sent

    def take_all(self, copy: Copy) -> list[Sent]:
        """What a copy that has died held. One more death is counted for what it may have been working on."""
        held = [
            sent.again(deaths=number < self._batch) for number, sent in enumerate(copy.outstanding.values())
        ]
        copy.outstanding.clear()
        self._count(copy)
        return held

    def forget(self, camera: str) -> None:
        """A camera has ended."""
        for key in [key for key in self.bound if key[0] == camera]:
            del self.bound[key]
        for copy in self.copies:
            copy.to_restore.discard(camera)

    def learn(self, sent: Sent, passed: float, seconds: float) -> None:
        """Note how long a copy has taken: `passed` since it was sent the item, `seconds` to serve it."""
        copy, table = sent.copy, self._table
        assert copy is not None
        copy.service += _LEARNING * (max(seconds, 1e-6) - copy.service)
        if abs(copy.service - table.service[0, copy.index]) > _NOTEWORTHY * copy.service:
            table.service[0, copy.index], table.capacity[copy.index] = copy.service, 1 / copy.service
            table.refresh()
        self._policy.answered(_QUERY, table, copy.index, passed, sent.ahead)

    def _emptiest(self) -> Copy | None:
        """The copy to which the fewest cameras or tiles are bound."""
        bound = Counter(copy.index for copy in self.bound.values())
        ready = [copy for copy in self.copies if copy.link]
        return min(ready, key=lambda copy: (bound[copy.index], copy.index), default=None)

    def _dispatched(self, sent: Sent) -> Copy | None:
        """The copy that the policy chooses among those with room."""
        for copy in self.copies:
            self._table.up[copy.index] = self._has_room(copy, sent)
        if not self._table.up.any():
            return None
        if len(self.copies) == 1:
            return self.copies[0]
        index = self._policy.choose(_QUERY, self._table, self._random)
        if index is None and not self._table.in_flight.any():  # the policy would wait for ever
            index = int(self._table.up.argmax())
        return None if index is None else self.copies[index]

    def _has_room(self, copy: Copy, sent: Sent) -> bool:
        if copy.link is None:
            return False
        if sent.deaths:  # alone: should the worker die again, it is known on what
            return not copy.outstanding
        return len(copy.outstanding) < self._room and not any(sent.deaths for sent in copy.outstanding.values())

    def _count(self, copy: Copy) -> None:
        self._table.in_flight[copy.index] = len(copy.outstanding)


def check(chain: Sequence[Operator[Any, Any]], workers: Sequence[str]) -> None:
    """Raise `ConfigError` where a chain cannot have copies on these workers."""
    if not chain or not workers:
        raise ConfigError("Replicas: at least one operator and one worker are needed")
    if len(set(workers)) < len(workers):
        raise ConfigError(f"Replicas: one copy for each worker, not several on one: {', '.join(workers)}")
    for step in chain:
        if step.delayed or isinstance(step, Synchronize):
            raise ConfigError(f"{step.name}: what answers later cannot work in another process")
    if state_of(chain) is State.GLOBAL and len(workers) > 1:
        raise ConfigError(
            f"{chain[0].name}: what it remembers is of all cameras, so there can be one copy only"
        )


def state_of(chain: Sequence[Operator[Any, Any]]) -> State:
    """What a chain remembers: the most that one of its steps does."""
    order = (State.NONE, State.PER_TILE, State.PER_CAMERA, State.GLOBAL)
    return max((step.state for step in chain), key=order.index)


def _table(count: int) -> Workers:
    ones = np.ones(count)
    return Workers.idle(
        tier=np.zeros(count),
        delay=np.zeros(count),
        service=[ones * _FIRST_GUESS],
        accuracy=[ones],
        capacity=ones / _FIRST_GUESS,
    )
