"""Rounding: whole cameras on the columns among which the master problem shares them out in fractions."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from flowedge.planner.solver.column_generation import ColumnGeneration, Relaxation
from flowedge.planner.solver.insertion import Prices
from flowedge.planner.solver.instance import RESOURCES, Floats
from flowedge.planner.solver.master_problem import Column
from flowedge.planner.solver.partial_plan import PartialPlan
from flowedge.planner.solver.replica_sizing import size_replicas


def resource_prices(master: ColumnGeneration, relaxed: Relaxation) -> Prices:
    """The programme's prices of what is scarce, in the objective's unit for a core, a byte, a bit/s."""
    cluster = master.problem.cluster
    nodes, arcs = np.zeros((len(cluster.nodes), len(RESOURCES))), dict[int, float]()
    for (what, where), row in master.programme.rows.items():
        price = float(relaxed.prices[row]) if row < len(relaxed.prices) else 0.0
        if price <= 0:
            continue
        if what == "link":
            arcs[where] = price * 8 / cluster.arcs[where].bandwidth
        elif what in RESOURCES:
            nodes[where, RESOURCES.index(what)] = price / getattr(cluster.nodes[where], what)
    return Prices(nodes * _scarce_part(master, relaxed)[:, None], arcs)


def _scarce_part(master: ColumnGeneration, relaxed: Relaxation) -> Floats:
    """By node, the part (0..1) of its prices that is scarcity; the other part only pays for its fixed cost."""
    part = np.ones(len(master.problem.cluster.nodes))
    for node, machine in master.programme.machines.items():
        paid = float(relaxed.prices[[row for row in machine.rows if row < len(relaxed.prices)]].sum())
        used = machine.takes[0][0]
        scarce = float(relaxed.prices[used]) if used < len(relaxed.prices) else 0.0
        part[node] = min(1.0, scarce / paid) if paid > 0 else 0.0
    return part


def round_columns(relaxed: Relaxation, master: ColumnGeneration) -> list[tuple[Column, int]]:
    """Whole cameras on the columns of an optimum.

    With few groups the programme is solved again after each step; with many, shares are rounded down and the
    rest goes to the largest remainders.
    """
    if master.tuning.few:
        return [
            (column, count)
            for column, count in zip(master.columns, master.programme.dive(), strict=True)
            if count
        ]
    shares: dict[int, list[tuple[Column, float]]] = defaultdict(list)
    for column, value in zip(relaxed.columns, relaxed.values, strict=False):
        if value > 1e-9:
            shares[column.group].append((column, float(value)))
    rounded = []
    for number, mine in shares.items():
        counts = [int(value + 1e-9) for _, value in mine]
        remaining = master.groups[number].cameras - sum(counts)
        order = sorted(range(len(mine)), key=lambda at: counts[at] - mine[at][1])
        for at in order[:remaining]:
            counts[at] += 1
        rounded += [(column, count) for (column, _), count in zip(mine, counts, strict=True) if count]
    return rounded


def add_rounded(partial: PartialPlan, rounded: list[tuple[Column, int]]) -> list[tuple[int, int]]:
    """Add rounded columns as assignments; return the groups and cameras that found no room or time."""
    missing = [group.cameras for group in partial.groups]
    for column, cameras in rounded:
        missing[column.group] -= cameras
    unplaced = [(group, cameras) for group, cameras in enumerate(missing) if cameras]
    for column, cameras in sorted(rounded, key=lambda entry: -entry[1] * partial.groups[entry[0].group].rate):
        stages = zip(
            column.configuration.application.stages, column.configuration.choices, column.rows, strict=True
        )
        waits = [
            partial.longest(service) if stage.singleton and (service := choices.services[row]) else 0.0
            for stage, choices, row in stages
        ]
        assignment = partial.assignment(
            column.group, cameras, column.configuration, column.rows, column.nodes, waits
        )
        if assignment is not None:
            partial.add(assignment)
            if partial.feasible() or (partial.tuning.few and size_replicas(partial)):
                continue
            partial.remove(assignment)
        unplaced.append((column.group, cameras))
    return unplaced
