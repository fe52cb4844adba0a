"""CONTINUUM's reservation of resources for intensive tasks: Algorithms 2 and 4, literal and mended.

Amounts are shares of a node (0..1). A task is an operator with some load, of which each instance carries a
part; high-intensive (HI) tasks go to the last tier first, low-intensive (LI) ones to those between the first
and the last one.

The listings leave some steps open; they are completed as follows. Algorithm 2, step 11, reserves on the cloud
as many instances as it can hold, not all of them; when both tiers are full, those that fit are reserved before
requirements are adjusted. Algorithm 4 reserves the minimum of 50 %. It takes the missing part evenly from the
other reservations on the node, but never below their own minimum: then those that can still give share the
rest. Where they cannot give enough, the task is rejected. An adjusted instance counts as a whole one, as in the
paper, though it carries less.

Source: Houmani et al., SBAC-PAD 2021, section VI.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

Category: TypeAlias = Literal["NI", "LI", "HI"]
"""Non-, low- and high-intensive tasks."""

MINIMUM = 0.5  # of its requirement, that every task keeps
_SLACK = 1e-9


@dataclass(frozen=True, slots=True)
class Task:
    """A task with its `load` in any unit, and where instances could be, in order of preference.

    An option is (node, share that an instance takes, load that it carries); in the paper a load of n means n
    instances, each of which carries 1.
    """

    name: str
    category: Category
    load: float
    options: tuple[tuple[str, float, float], ...]


@dataclass(frozen=True, slots=True)
class Reservation:
    """`share` of a node that one instance of a task gets; it wanted `need`."""

    task: str
    category: Category
    node: str
    share: float
    need: float

    @property
    def spare(self) -> float:
        """What it can give away and still has its minimum."""
        return max(0.0, self.share - MINIMUM * self.need)


@dataclass(frozen=True)
class Reserved:
    """All reservations, and the share of each node that is still free."""

    reservations: tuple[Reservation, ...]
    free: dict[str, float]

    def on(self, node: str) -> list[Reservation]:
        """The reservations on one node."""
        return [reservation for reservation in self.reservations if reservation.node == node]


def reserve(tasks: Sequence[Task], free: dict[str, float], *, literal: bool = False) -> Reserved | None:
    """Algorithm 2: resources for all intensive tasks, HI before LI; None where a task is rejected.

    As printed (`literal`), tasks that the first node cannot hold alone are all reserved there and the rest once
    more elsewhere, and where two nodes cannot hold them nothing but one adjusted instance is reserved.

    >>> detect = Task("Detect", "HI", 2, (("cloud", 0.5, 1), ("fog", 0.75, 1)))
    >>> reserve([detect], {"cloud": 0.75, "fog": 1.0}).free
    {'cloud': 0.25, 'fog': 0.25}
    """
    state: Reserved | None = Reserved((), dict(free))
    for category in ("HI", "LI"):
        for task in tasks:
            if task.category == category and state is not None:
                state = _literal(state, task) if literal else _mended(state, task)
    return state


def _mended(state: Reserved, task: Task) -> Reserved | None:
    unserved = task.load
    for node, share, carried in task.options:
        instances = min(_instances(unserved, carried), _fitting(state, node, share))
        state = _taken(state, task, node, share, instances)
        unserved -= instances * carried
    carries = {node: carried for node, _, carried in task.options}
    while unserved > _SLACK:
        adjusted = adjust(state, task)
        if adjusted is None:
            return None
        state, unserved = adjusted, unserved - carries[adjusted.reservations[-1].node]
    return state


def _literal(state: Reserved, task: Task) -> Reserved | None:
    if not task.options:
        return None
    (first, share, carried), *others = task.options
    wanted, fitting = _instances(task.load, carried), _fitting(state, first, share)
    if fitting >= wanted:
        return _taken(state, task, first, share, wanted)
    for node, other, carries in others[:1]:
        rest = _instances(task.load - fitting * carried, carries)
        if _fitting(state, node, other) >= rest:
            return _taken(_taken(state, task, first, share, wanted), task, node, other, rest)
    return adjust(state, task, literal=True)


def adjust(state: Reserved, task: Task, *, literal: bool = False) -> Reserved | None:
    """Algorithm 4: one instance on less than it wants, from free capacity or at the cost of others.

    The node is the one with the most free capacity, and where its reservations cannot give enough the next one.
    As printed (`literal`), only the first node is looked at, every donor gives the same part, and what is
    reserved is that part alone.

    >>> full = Reserved((Reservation("Draw", "HI", "cloud", 0.7, 0.7),), {"cloud": 0.3})
    >>> after = adjust(full, Task("Detect", "HI", 1, (("cloud", 0.8, 1),)))
    >>> [(each.task, round(each.share, 3)) for each in after.reservations]
    [('Draw', 0.6), ('Detect', 0.4)]
    """
    for node, need, _ in sorted(task.options, key=lambda option: -state.free[option[0]]):
        room = max(0.0, state.free[node])
        if room >= MINIMUM * need - _SLACK:
            return _taken(state, task, node, need, 1, share=min(room, need))
        missing = MINIMUM * need - room
        reduced = _even(state, node, missing) if literal else _water_filled(state, node, missing)
        if reduced is not None:
            return _taken(reduced, task, node, need, 1, share=missing if literal else MINIMUM * need)
        if literal:
            return None
    return None


def _water_filled(state: Reserved, node: str, missing: float) -> Reserved | None:
    """Takes `missing` from the reservations on a node in equal parts, from each at most what it can spare."""
    spares = sorted(reservation.spare for reservation in state.on(node))
    if sum(spares) < missing - _SLACK:
        return None
    level, unmet = 0.0, missing
    for at, spare in enumerate(spares):
        givers = len(spares) - at
        step = min(spare - level, unmet / givers)
        level, unmet = level + step, unmet - step * givers
    return _reduced(state, node, [min(reservation.spare, level) for reservation in state.on(node)])


def _even(state: Reserved, node: str, missing: float) -> Reserved | None:
    """Takes the same part from every reservation on a node that has its minimum left after it."""
    here = state.on(node)
    donors = [reservation for reservation in here if reservation.spare > 0]
    if not donors:
        return None
    part = missing / len(donors)
    return _reduced(state, node, [part if reservation.spare > 0 else 0.0 for reservation in here])


def _reduced(state: Reserved, node: str, parts: Sequence[float]) -> Reserved:
    reductions = iter(parts)
    reservations = tuple(
        replace(reservation, share=reservation.share - next(reductions))
        if reservation.node == node
        else reservation
        for reservation in state.reservations
    )
    return Reserved(reservations, {**state.free, node: state.free[node] + sum(parts)})


def _instances(load: float, carried: float) -> int:
    return max(0, math.ceil(load / carried - _SLACK))


def _fitting(state: Reserved, node: str, share: float) -> int:
    return max(0, int((state.free[node] + _SLACK) / share))


def _taken(
    state: Reserved, task: Task, node: str, need: float, count: int, share: float | None = None
) -> Reserved:
    if not count:
        return state
    amount = need if share is None else share
    instances = (Reservation(task.name, task.category, node, amount, need),) * count
    free = {**state.free, node: state.free[node] - amount * count}
    return Reserved((*state.reservations, *instances), free)
