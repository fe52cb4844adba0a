"""Repair: room for the last cameras, by removing others near them first and inserting all again."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from flowedge.planner.solver.column_generation import ColumnGeneration
from flowedge.planner.solver.insertion import Prices, insert_all
from flowedge.planner.solver.partial_plan import PartialPlan


def repair(
    partial: PartialPlan,
    master: ColumnGeneration,
    lost: list[tuple[int, int]],
    prices: Prices,
    rng: random.Random,
    *,
    near: Sequence[NDArray[np.bool_]],
) -> list[tuple[int, int]]:
    """Find room for cameras that were `lost`; return the groups and cameras that still have none."""
    for _ in range(partial.tuning.repairs):
        if not lost or partial.budget.over:
            break
        beside = _nearby_groups(partial, near[rng.choice(lost)[0]])
        mine = [entry for entry in lost if entry[0] in beside]
        before = partial.all()
        held = [assignment for group in beside for assignment in partial.assignments[group]]
        removed = rng.sample(held, min(len(held), rng.randint(1, 4)))
        for assignment in removed:
            partial.remove(assignment)
        rng.shuffle(mine)
        unplaced = [*mine, *((assignment.group, assignment.cameras) for assignment in removed)]
        still = insert_all(partial, master, unplaced, prices, near=near)
        if sum(cameras for _, cameras in still) <= sum(cameras for _, cameras in mine):
            lost = [entry for entry in lost if entry[0] not in beside] + still
        else:
            partial.restore(before)
    return lost


def _nearby_groups(partial: PartialPlan, near: NDArray[np.bool_]) -> dict[int, None]:
    """The groups of cameras at nodes that are near, or all if there are few."""
    return dict.fromkeys(
        at for at, group in enumerate(partial.groups) if partial.tuning.few or near[group.node]
    )
