"""Groups of cameras, and the ways that their frames can take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from flowedge.planner.model.problem import Problem
from flowedge.planner.model.profiles import Service
from flowedge.planner.solver.instance import Floats, Variant

Key: TypeAlias = tuple[str, int, Service]
"""A pool, which is all replicas of a service on a node: its stage, the position of its node, its service."""


FEW = 30
"""Groups up to which each is worth a closer look; with more, each counts for little."""


@dataclass(frozen=True)
class Group:
    """Camera classes with equal frame rates at one node for one application; to the strategy they are one."""

    application: str
    node: int
    rate: float
    cameras: int

    @property
    def load(self) -> float:
        """Frames a second of all its cameras."""
        return self.rate * self.cameras


@dataclass(frozen=True)
class Way:
    """For cameras of a group, a variant and the row of `Choices` and the node of each stage.

    A camera has a `cost` and `uses` so much of each row of the programme (by number).
    """

    group: int
    variant: Variant
    rows: tuple[int, ...]
    nodes: tuple[int, ...]
    latency: float
    cost: float
    uses: tuple[tuple[int, float], ...]


def grouped(problem: Problem) -> tuple[list[Group], list[int]]:
    """The groups of a problem's classes, and the group of each class."""
    numbers: dict[tuple[str, int, float], int] = {}
    counts: list[int] = []
    of = []
    for each in problem.classes:
        key = each.application, problem.cluster.index[each.node], problem.rate(each)
        number = numbers.setdefault(key, len(numbers))
        if number == len(counts):
            counts.append(0)
        counts[number] += each.count
        of.append(number)
    return [Group(*key, count) for key, count in zip(numbers, counts, strict=True)], of


def shipped(problem: Problem, variant: Variant, nodes: Sequence[int]) -> list[tuple[int, float]]:
    """The arcs that a frame goes over, and its bytes there; an output is sent to a node only once."""
    cluster = problem.cluster
    found, sent = [], set()
    for stage, inputs in enumerate(variant.inputs):
        for name in inputs:
            start, end, size = nodes[name], nodes[stage], variant.sizes[name]
            if size and start != end and (name, end) not in sent:
                sent.add((name, end))
                path = cluster.path(cluster.nodes[start].name, cluster.nodes[end].name) or ()
                found += [(arc, size) for arc in path]
    return found


def along_paths(
    problem: Problem, prices: Mapping[int, float], among: NDArray[np.bool_] | None = None
) -> Floats:
    """The sum of prices of arcs along the path from every node (rows) to every node, or only `among` some."""
    cluster = problem.cluster
    count = len(cluster.nodes)
    price = np.zeros(len(cluster.arcs) + 1)  # the last one for staying
    price[list(prices)] = list(prices.values())
    kept = np.arange(count) if among is None else np.nonzero(among)[0]
    before = np.array([cluster.tree(origin)[1] for origin in kept.tolist()], np.int64).reshape(len(kept), count)
    rows, here = np.arange(len(kept))[:, None], np.broadcast_to(kept, (len(kept), len(kept)))
    total = np.zeros((len(kept), len(kept)))
    while True:
        previous = before[rows, here]
        if (previous < 0).all():
            break
        previous = np.where(previous < 0, here, previous)
        total += price[cluster.fastest[previous, here]]
        here = previous
    if among is None:
        return total
    whole = np.zeros((count, count))
    whole[np.ix_(kept, kept)] = total
    return whole
