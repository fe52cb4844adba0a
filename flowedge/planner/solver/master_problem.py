"""The restricted master problem: the linear programme over the columns generated so far.

Cameras are spread over columns, and pools have replicas, both in fractions, at the least cost. What nodes,
links and singletons have is scaled to 1, and a pool has at least

    load / (utilisation x rate)                                      replicas: they carry the load;
    cameras of a group that use it / all cameras of that group       replicas: one is needed at all.

A node that adds something to the objective as soon as it has a replica (its whole idle power) is used to an
extent u from 0 to 1, which is at least

    the share of each of its resources that is taken;
    cameras of a group that have some stage on it / all cameras of that group      (where groups are few).

On a node that others share, idle power is a cost of its replicas instead, by their shares.

Where replicas are whole, the second limit of a pool follows from the first; here, where they are fractions, it
makes the bound a good one for cameras that need only a part of a replica. With many groups, where it rarely
matters, pools have no variables of their own: every column includes its part of the replicas (and no replica
carries more than all the cameras send).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from flowedge.planner.model.problem import Problem
from flowedge.planner.model.profiles import Service
from flowedge.planner.solver.instance import (
    RESOURCES,
    Choices,
    Configuration,
    Floats,
    Group,
    PoolKey,
    arcs_used,
    fixed_costs,
)
from flowedge.planner.solver.tuning import Tuning

RowName: TypeAlias = tuple[str, int]
"""A resource of a node (by position), "link" and an arc, "singleton" and its number: these are scarce. "load"
and a pool, "presence" and pool x groups + group: replicas that a pool must have. "used" and a node: its extent
of use, which is at most 1. "stage" and a number (`stage_rows`): the least extent to which a node is used."""


@dataclass(frozen=True)
class Column:
    """For cameras of a group, a configuration and the row of `Choices` and the node of each stage.

    A camera has a `cost` and `uses` so much of each row of the programme (by number).
    """

    group: int
    configuration: Configuration
    rows: tuple[int, ...]
    nodes: tuple[int, ...]
    latency: float
    cost: float
    uses: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class Optimum:
    """Cameras on each column, the value, and dual prices of `rows` and of a camera of each group.

    `missing` is how many cameras have no column.
    """

    values: Floats
    value: float
    rows: Floats
    groups: Floats
    missing: float


@dataclass
class _PoolTerms:
    """A replica's cost, what it takes of each scarce row, and the rows that say how many there must be."""

    cost: float
    takes: tuple[tuple[int, float], ...]
    rows: list[int] = field(default_factory=list)


@dataclass
class RestrictedMaster:
    """The programme, growing column by column; with few groups pools have variables of their own."""

    problem: Problem
    groups: Sequence[Group]
    tuning: Tuning
    columns: list[Column] = field(default_factory=list)
    rows: dict[RowName, int] = field(default_factory=dict)
    limits: list[float] = field(default_factory=list)
    numbers: dict[PoolKey, int] = field(default_factory=dict)
    pools: list[_PoolTerms] = field(default_factory=list)
    by_stage: dict[str, list[tuple[int, Service, int]]] = field(default_factory=lambda: defaultdict(list))
    asked: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    """Frames a second that each stage gets in all."""
    singletons: dict[str, int] = field(default_factory=dict)
    complete: bool = False
    """Whether it is known that all cameras have a column; then none may be left without."""
    machines: dict[int, _PoolTerms] = field(default_factory=dict)
    """By node that has a fixed cost and is in some column: to what extent it is used."""
    stage_rows: dict[tuple[str, int], dict[int, int]] = field(default_factory=lambda: defaultdict(dict))
    """By stage and group, and then by such a node, the row of the group's cameras that have the stage there."""
    fixed_costs: Floats = field(init=False)

    def __post_init__(self) -> None:
        self.fixed_costs = fixed_costs(self.problem)
        stages = {application.name: application.stages for application in self.problem.applications}
        for group in self.groups:
            for stage in stages[group.application]:
                self.asked[stage.name] += group.load
                if stage.singleton:
                    self.singletons.setdefault(stage.name, len(self.singletons))

    def carried(self, name: str, choices: Choices) -> Floats:
        """Frames a second that a replica of each choice of a stage carries at most."""
        return np.minimum(choices.capacity, self.asked[name])

    def add(
        self,
        number: int,
        configuration: Configuration,
        rows: Sequence[int],
        nodes: Sequence[int],
        latency: float,
    ) -> None:
        """A new column for cameras of a group."""
        group = self.groups[number]
        cost, uses = 0.0, defaultdict[int, float](float)
        if self.problem.minimize == "utility":
            cost = self.problem.theta * latency - configuration.accuracy
        stages = zip(
            configuration.application.stages,
            configuration.choices,
            rows,
            nodes,
            configuration.follows_input,
            strict=True,
        )
        for stage, choices, row, node, follows_input in stages:
            service = choices.services[row] if not follows_input else None
            if service is None:
                continue
            cost += float(choices.frame[row]) * group.rate
            if self.fixed_costs[node]:
                self._use(node)
                if self.tuning.few:
                    uses[self._stage_row(stage.name, number, node)] += 1 / group.cameras
            replica = _PoolTerms(float(choices.reserve[row]), self._takes(stage.name, node, choices.needs[row]))
            if self.tuning.few:
                pool = self.numbers.setdefault((stage.name, node, service), len(self.numbers))
                if pool == len(self.pools):
                    self.pools.append(replica)
                    self.by_stage[stage.name].append((node, service, pool))
                for what, amount in self._musts(number, pool, float(choices.capacity[row])):
                    uses[what] += amount
            else:
                replicas = group.rate / float(self.carried(stage.name, choices)[row])
                cost += replica.cost * replicas
                for what, amount in replica.takes:
                    uses[what] += amount * replicas
        for arc, size in arcs_used(self.problem, configuration, nodes):
            bandwidth = self.problem.cluster.arcs[arc].bandwidth
            uses[self._row(("link", arc))] += 8 * size * group.rate / bandwidth
        self.columns.append(
            Column(number, configuration, tuple(rows), tuple(nodes), latency, cost, tuple(uses.items()))
        )

    def _use(self, node: int) -> None:
        """A variable of the extent to which a node with a fixed cost is used, and what of it is taken."""
        if node not in self.machines:
            have = self.problem.cluster.nodes[node]
            finite = [what for what in RESOURCES if 0 < getattr(have, what) < np.inf]
            rows = [self._row((what, node), limit=0.0) for what in finite]
            once = ((self._row(("used", node)), 1.0),)
            self.machines[node] = _PoolTerms(float(self.fixed_costs[node]), once, rows)

    def _stage_row(self, name: str, group: int, node: int) -> int:
        rows = self.stage_rows[name, group]
        if node not in rows:
            rows[node] = self._row(("stage", len(self.rows)), limit=0.0)
            self.machines[node].rows.append(rows[node])
        return rows[node]

    def stage_prices(self, prices: Floats, name: str, group: int, choices: Choices) -> Floats:
        """By choice of a stage, what a frame of a group pays for the use of its node."""
        node_prices = np.zeros(len(choices))
        for node, row in self.stage_rows.get((name, group), {}).items():
            if row < len(prices):
                node_prices[choices.nodes == node] = prices[row] / self.groups[group].load
        return node_prices

    @property
    def _variables(self) -> list[_PoolTerms]:
        """The variables beside those of columns: pools, then machines."""
        return [*self.pools, *self.machines.values()]

    def _takes(self, name: str, node: int, needs: Floats) -> tuple[tuple[int, float], ...]:
        have = self.problem.cluster.nodes[node]
        takes = [
            (self._row((what, node)), float(need) / getattr(have, what))
            for what, need in zip(RESOURCES, needs, strict=True)
            if need and getattr(have, what) < np.inf
        ]
        if name in self.singletons:
            takes.append((self._row(("singleton", self.singletons[name])), 1.0))
        return tuple(takes)

    def _musts(self, number: int, pool: int, capacity: float) -> list[tuple[int, float]]:
        """What a camera of a group adds to the rows of a pool."""
        group = self.groups[number]
        musts = [(self._must(pool, ("load", pool)), group.rate / capacity)]
        if group.load < capacity:  # else the load says more
            presence = self._must(pool, ("presence", pool * len(self.groups) + number))
            musts.append((presence, 1 / group.cameras))
        return musts

    def _must(self, pool: int, row: RowName) -> int:
        if row not in self.rows:
            self.pools[pool].rows.append(self._row(row, limit=0.0))
        return self.rows[row]

    def _row(self, row: RowName, limit: float = 1.0) -> int:
        number = self.rows.setdefault(row, len(self.rows))
        if number == len(self.limits):
            self.limits.append(limit)
        return number

    def paid(self, prices: Floats, number: int, name: str, choices: Choices) -> tuple[Floats, Floats]:
        """By choice of a stage, what is paid for a replica in all, and what of it a frame of a group pays."""
        paid, own = np.zeros(len(choices)), np.zeros(len(choices))
        prices = self._padded(prices)
        for node, service, pool in self.by_stage[name]:
            row = choices.row.get((node, service))
            if row is None:
                continue
            paid[row] = prices[self.pools[pool].rows].sum()
            own[row] = prices[self.rows["load", pool]] / choices.capacity[row]
            presence = self.rows.get(("presence", pool * len(self.groups) + number))
            if presence is not None:
                own[row] += prices[presence] / self.groups[number].load
        return paid, own

    def costs(self, phase: int) -> Floats:
        """What a camera on each column costs beside its rows; nothing in phase 1."""
        return np.array([column.cost if phase == 2 else 0.0 for column in self.columns])

    def priced(self, rows: Floats, phase: int) -> Floats:
        """What a camera on each column costs with its rows at these prices."""
        return np.asarray(
            self.costs(phase) + self._matrix([column.uses for column in self.columns]).T @ self._padded(rows)
        )

    def _padded(self, prices: Floats) -> Floats:
        """Prices, with 0 for rows that are newer."""
        return np.asarray(np.r_[prices, np.zeros(len(self.rows) - len(prices))])

    def optimum(self, phase: int) -> Optimum:
        """The optimum so far: the fewest cameras without a column (phase 1), or the least cost (phase 2)."""
        columns, groups = len(self.columns), len(self.groups)
        if not columns:
            cameras = float(self._cameras().sum())
            lost = np.inf if phase == 2 else 1.0
            return Optimum(np.zeros(0), lost * cameras, np.zeros(0), np.full(groups, lost), cameras)
        result = self._solved(self._matrices(phase), np.zeros(columns + len(self._variables)))
        if result.status != 0:
            raise ArithmeticError(f"HiGHS: {result.message}")
        return Optimum(
            np.asarray(result.x[:columns]),
            float(result.fun),
            np.maximum(0.0, -np.asarray(result.ineqlin.marginals)) if self.rows else np.zeros(0),
            np.asarray(result.eqlin.marginals),
            float(result.x[-groups:].sum()),
        )

    def dive(self) -> list[int]:
        """Whole cameras on each column, by rounding the optimum up camera by camera, with whole replicas.

        Cameras that have a column keep it, and their replicas count as paid for. Cameras for which
        the programme then finds nothing are on no column.
        """
        columns = len(self.columns)
        matrices = self._matrices(phase=2)
        fixed, most = np.zeros(columns), np.full(columns, np.inf)
        steps: list[tuple[int, float]] = []
        while True:
            result = self._solved(matrices, np.r_[fixed, self._open(fixed)], most)
            if result.status != 0:  # there is no room for the last ones
                if not steps:
                    return [0] * columns
                position, count = steps.pop()
                fixed[position] -= count
                most[position] = fixed[position]
                continue
            remaining = result.x[:columns] - fixed
            if remaining.max() < 1e-6:
                return [round(count) for count in fixed]
            whole = np.floor(remaining + 1e-6)
            if not whole.any():
                whole[remaining.argmax()] = 1
            fixed += whole
            steps += [(int(position), float(whole[position])) for position in np.nonzero(whole)[0]]

    def _open(self, fixed: Floats) -> list[float]:
        """The replicas that whole cameras on columns need, by pool."""
        used = self._matrix([column.uses for column in self.columns]) @ fixed
        return [float(np.ceil(used[pool.rows].max() - 1e-6)) for pool in self._variables]

    def _solved(self, matrices: tuple[Floats, Any, Any], least: Floats, most: Floats | float = np.inf) -> Any:
        """HiGHS' solution with at least so many cameras and replicas, and at most so many cameras."""
        from scipy.optimize import linprog

        costs, uses, cover = matrices
        bounds = np.zeros((len(costs), 2))
        bounds[:, 1] = np.inf
        bounds[: len(least), 0] = least
        bounds[: len(self.columns), 1] = most
        if self.complete:
            bounds[-len(self.groups) :, 1] = 0.0
        return linprog(
            costs,
            A_ub=uses if self.rows else None,
            b_ub=np.array(self.limits) if self.rows else None,
            A_eq=cover,
            b_eq=self._cameras(),
            bounds=bounds,
            method="highs",
        )

    def _cameras(self) -> Floats:
        return np.array([group.cameras for group in self.groups], float)

    def _matrices(self, phase: int) -> tuple[Floats, Any, Any]:
        """Costs of cameras on columns, of replicas and of missing cameras; their rows; their groups."""
        from scipy.sparse import block_array, csr_array, eye_array

        groups = len(self.groups)
        own = np.r_[self.costs(phase), [pool.cost if phase == 2 else 0.0 for pool in self._variables]]
        dear = (self.tuning.missing_cost * self._dearest() or 1.0) if phase == 2 else 1.0
        musts = [(*pool.takes, *((row, -1.0) for row in pool.rows)) for pool in self._variables]
        uses = self._matrix([*(column.uses for column in self.columns), *musts, *[()] * groups])
        of = [column.group for column in self.columns], np.arange(len(self.columns))
        cover = csr_array((np.ones(len(self.columns)), of), (groups, len(own)))
        lost = np.full(groups, dear)
        return np.r_[own, lost], uses, block_array([[cover, eye_array(groups)]], format="csr")

    def _dearest(self) -> float:
        """More than any column costs with the replicas that it needs."""
        replicas = np.zeros(len(self.rows))
        for pool in self._variables:
            replicas[pool.rows] = pool.cost
        return float(np.abs(self.priced(replicas, phase=2)).max())

    def _matrix(self, columns: Sequence[Sequence[tuple[int, float]]]) -> Any:
        """Rows x columns, of each column's rows and amounts."""
        from scipy.sparse import csr_array

        rows = [row for column in columns for row, _ in column]
        values = [value for column in columns for _, value in column]
        numbers = np.repeat(np.arange(len(columns)), [len(column) for column in columns])
        return csr_array((values, (rows, numbers)), (len(self.rows), len(columns)))
