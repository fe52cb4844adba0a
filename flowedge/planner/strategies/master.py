"""The linear programme over columns, and column generation (Dantzig and Wolfe, Operations Research 8, 1960).

It is the relaxation of the plan in which replicas are fractions of load / (utilisation x rate), nobody waits
for one, and cameras of a class may be split at will; so its optimum is a bound for every plan. Its duals price
the nodes' resources, the links and the singletons, and on these prices the columns are found that would lower
the cost. For any prices p from 0,

    sum over classes(cameras x least priced cost of a camera) - sum(p)

(capacities being scaled to 1) is a lower bound as well (Lagrange), which holds before the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from flowedge.planner.columns import Network
from flowedge.planner.problem import Problem
from flowedge.planner.strategies.labels import Budget, Offered, Search, Ways, potentials
from flowedge.planner.strategies.tables import RESOURCES, Floats, Variant

Row: TypeAlias = tuple[str, int]
"""What is scarce: a resource of a node (by position), "link" and an arc, or a "singleton" by its number."""

_WORTH_A_COLUMN = 1e-6  # share of the price of a camera by which a column must lower it
_LABELS = 8, 400  # kept at each stage of a search at first, if there are many, and at most
_MANY = 50  # groups
_COLUMNS = 1, 3  # added for a group in a round, at most; the second with few groups
_LARGE, _NEAREST = 200, 40  # nodes from which not all are looked at, and how many then are
_DEAR = 1e6  # for a frame, far above anything else


@dataclass(frozen=True)
class Group:
    """Camera classes with equal frame rates at one node for one application; to the programme they are one."""

    application: str
    node: int
    rate: float
    cameras: int


@dataclass(frozen=True)
class Way:
    """A column: for cameras of a group, a variant and the row of `Choices` and the node of each stage."""

    group: int
    variant: Variant
    rows: tuple[int, ...]
    nodes: tuple[int, ...]
    latency: float
    cost: float
    uses: tuple[tuple[int, float], ...]


@dataclass
class Prices:
    """Prices of rows (scaled to capacity 1), and of a camera of each group."""

    rows: Floats
    groups: Floats


@dataclass
class Relaxation:
    """What column generation found: `values` are cameras on `ways`, `bound` holds for every plan.

    `missing` are cameras without any way; where it is above 0 and `proven`, there is no plan at all.
    """

    ways: list[Way]
    values: Floats
    prices: Prices
    value: float
    bound: float
    missing: float
    proven: bool
    rounds: int
    scarce: tuple[Row, ...] = ()


@dataclass
class Master:
    """The programme of a problem, growing."""

    problem: Problem
    net: Network
    variants: dict[str, tuple[Variant, ...]]
    groups: list[Group]
    of: list[int]
    ways: list[Way] = field(default_factory=list)
    rows: dict[Row, int] = field(default_factory=dict)
    _known: set[tuple[int, int, tuple[int, ...], tuple[int, ...]]] = field(default_factory=set)
    _near: dict[int, NDArray[np.bool_]] = field(default_factory=dict)
    _most: int = field(init=False)

    def __post_init__(self) -> None:
        self._most = _LABELS[len(self.groups) <= _MANY]

    def solve(self, budget: Budget, *, gap: float = 1e-4) -> Relaxation:
        """Generates columns until the bound is within a share `gap` of the value, or the budget is spent."""
        if len(self.groups) > _MANY:
            self._begin(budget)
        found = self._generate(budget, gap, phase=2)
        if found.missing > 1e-6:
            again = self._generate(budget, gap, phase=1)
            if again.missing > 1e-6:
                return again
            found = self._generate(budget, gap, phase=2)
        return found

    def _generate(self, budget: Budget, gap: float, *, phase: int) -> Relaxation:
        bound, rounds = -np.inf, 0
        while True:
            rounds += 1
            values, value, prices, lost = self._optimum(phase)
            added, lower = self._price(prices, phase, budget)
            bound = max(bound, lower)
            done = value - bound <= gap * max(abs(value), 1e-9) and lost <= 1e-7
            if phase == 1 and (value <= 1e-7 or bound > 1e-6 * max(1.0, value)):
                done = True
            if done or budget.over or (not added and self._most >= _LABELS[1]):
                break
            if not added:
                self._most = min(4 * self._most, _LABELS[1])
        proven = phase == 1 and bound > 1e-6
        names = list(self.rows)
        scarce = tuple(names[each] for each in np.nonzero(prices.rows > 1e-9)[0])
        return Relaxation(self.ways, values, prices, value, bound, lost, proven, rounds, scarce)

    def _begin(self, budget: Budget) -> None:
        """The cheapest ways that keep to each tier as far as they can, so that first prices say something."""
        free = Prices(np.zeros(0), np.zeros(len(self.groups)))
        for tier in self.problem.cluster.tiers:
            outside = np.array([node.tier != tier for node in self.problem.cluster.nodes])
            self._price(free, 2, budget, dear=outside)

    def _nearest(self, node: int) -> NDArray[np.bool_] | None:
        """The nodes to look at for cameras at a node of a large cluster: the nearest; None for all."""
        count = len(self.net.fixed)
        if count <= _LARGE:
            return None
        if node not in self._near:
            self._near[node] = np.zeros(count, bool)
            self._near[node][np.argsort(self.net.fixed[node], kind="stable")[:_NEAREST]] = True
        return self._near[node]

    def gains(self) -> list[float]:
        """The most by which a camera of each group can make the objective better."""
        if self.problem.minimize != "utility":
            return [0.0] * len(self.groups)
        return [max(each.accuracy for each in self.variants[group.application]) for group in self.groups]

    def _optimum(self, phase: int) -> tuple[Floats, float, Prices, float]:
        """The optimum over the columns so far: cameras on each, value, prices, cameras without a way."""
        from scipy.optimize import linprog
        from scipy.sparse import csr_array

        count, groups = len(self.ways), len(self.groups)
        cameras = np.array([each.cameras for each in self.groups], float)
        if not count:
            start = Prices(np.zeros(0), np.full(groups, np.inf if phase == 2 else 1.0))
            return (
                np.zeros(0),
                float("inf") if phase == 2 else float(cameras.sum()),
                start,
                float(cameras.sum()),
            )
        own = np.array([way.cost for way in self.ways]) if phase == 2 else np.zeros(count)
        penalty = 10.0 * float(np.abs(own).max()) + 1.0 if phase == 2 else 1.0
        costs = np.r_[own, np.full(groups, penalty)]
        cover = np.r_[[way.group for way in self.ways], np.arange(groups)]
        equal = csr_array(
            (np.ones(count + groups), (cover, np.arange(count + groups))), (groups, count + groups)
        )
        uses = self._uses()
        wide = csr_array((uses.data, uses.indices, uses.indptr), (len(self.rows), count + groups))
        found = linprog(
            costs,
            A_ub=wide if self.rows else None,
            b_ub=np.ones(len(self.rows)) if self.rows else None,
            A_eq=equal,
            b_eq=cameras,
            method="highs",
        )
        if found.status != 0:
            raise ArithmeticError(f"HiGHS: {found.message}")
        rows = np.maximum(0.0, -np.asarray(found.ineqlin.marginals)) if self.rows else np.zeros(0)
        prices = Prices(rows, np.asarray(found.eqlin.marginals))
        return np.asarray(found.x[:count]), float(found.fun), prices, float(found.x[count:].sum())

    def _uses(self) -> Any:
        """What a camera on each column takes of each row, as rows x columns."""
        from scipy.sparse import csr_array

        rows = [row for way in self.ways for row, _ in way.uses]
        values = [value for way in self.ways for _, value in way.uses]
        columns = np.repeat(np.arange(len(self.ways)), [len(way.uses) for way in self.ways])
        return csr_array((values, (rows, columns)), (len(self.rows), len(self.ways)))

    def _price(
        self, at: Prices, phase: int, budget: Budget, dear: NDArray[np.bool_] | None = None
    ) -> tuple[int, float]:
        """Adds the columns that would lower the value; how many, and the Lagrangian bound at these prices.

        With `dear` nodes, which are then avoided, it adds the cheapest columns and there is no bound.
        """
        groups = len(self.groups)
        least = np.full(groups, np.inf)
        if self.ways and dear is None:
            owns = np.array([way.cost for way in self.ways]) if phase == 2 else np.zeros(len(self.ways))
            priced = owns + self._uses().T @ at.rows
            np.minimum.at(least, [way.group for way in self.ways], priced)
        if phase == 1:
            least = np.minimum(least, 1.0)
        tolls = self._tolls(at)
        ready: dict[tuple[int, float], tuple[list[Offered], list[Floats]]] = {}
        added = 0
        for (variant, node, kept, worth), numbers in self._alike(phase):
            if (id(variant), kept) not in ready:
                offered = self._offered(variant, at, phase, kept)
                if dear is not None:
                    offered = [replace(each, cost=each.cost + _DEAR * dear[each.nodes]) for each in offered]
                ready[id(variant), kept] = offered, potentials(variant, offered, tolls, len(self.net.fixed))
            rates = np.array([self.groups[number].rate for number in numbers])
            constant = self._per_camera(variant, phase)[0]
            worthwhile = np.nan_to_num(abs(least[numbers]), posinf=0.0) * _WORTH_A_COLUMN
            ceiling = float(((least[numbers] - constant - worthwhile) / rates).max())
            search = Search(variant, self.net, *ready[id(variant), kept], tolls, worth, self._most)
            nodes = self._nearest(node)
            found = search.ways(node, ceiling) if nodes is None else search.among(node, nodes, ceiling)
            budget.spend(found.work)
            for number, rate in zip(numbers, rates, strict=True):
                for position in range(min(_COLUMNS[len(self.groups) <= _MANY], len(found.costs))):
                    if found.costs[position] * rate + constant < least[number]:
                        added += self._add(number, variant, found, position)
                cheapest = min(found.costs[0] if len(found.costs) else np.inf, found.floor)
                least[number] = min(least[number], cheapest * rate + constant)
        cameras = np.array([each.cameras for each in self.groups])
        bound = float(cameras @ least - at.rows.sum())
        return added, bound

    def _alike(self, phase: int) -> list[tuple[tuple[Variant, int, float, float], list[int]]]:
        """Groups for which one search does, as prices are per frame: variant, node, rate (0: any), worth."""
        found: dict[tuple[int, int, float, float], tuple[tuple[Variant, int, float, float], list[int]]] = {}
        for number, group in enumerate(self.groups):
            for variant in self.variants[group.application]:
                worth = self._per_camera(variant, phase)[1] / group.rate
                key = variant, group.node, self._kept_rate(variant, group.rate), worth
                found.setdefault((id(variant), *key[1:]), (key, []))[1].append(number)
        return list(found.values())

    def _per_camera(self, variant: Variant, phase: int) -> tuple[float, float]:
        """What a camera adds to the objective beside its frames, and what each second of latency adds."""
        if phase == 1 or self.problem.minimize != "utility":
            return 0.0, 0.0
        return -variant.accuracy, self.problem.theta

    def _kept_rate(self, variant: Variant, rate: float) -> float:
        """The rate, if keyed stages make some choices impossible at it, else 0."""
        masks = variant.admits(rate)
        return 0.0 if all(mask is None or mask.all() for mask in masks) else rate

    def _offered(self, variant: Variant, at: Prices, phase: int, rate: float) -> list[Offered]:
        """What a frame costs by each choice on these prices."""
        count = len(self.net.fixed)
        nodes = self.problem.cluster.nodes
        unit = np.zeros((count, len(RESOURCES)))
        for (what, where), row in self.rows.items():
            if what in RESOURCES and row < len(at.rows):
                unit[where, RESOURCES.index(what)] = at.rows[row] / getattr(nodes[where], what)
        found = []
        for number, (choices, mask) in enumerate(zip(variant.choices, variant.admits(rate), strict=True)):
            reserve = choices.reserve if phase == 2 else 0.0
            single = self.rows.get(("singleton", self._number(variant, number)), len(at.rows))
            once = at.rows[single] if single < len(at.rows) else 0.0
            priced = reserve + (choices.needs * unit[choices.nodes]).sum(axis=1) + once
            cost = priced / choices.capacity + (choices.frame if phase == 2 else 0.0)
            offered = Offered(choices.nodes, cost, choices.seconds, np.arange(len(choices)))
            found.append((offered if mask is None else offered.only(mask)).best())
        return found

    def _number(self, variant: Variant, stage: int) -> int:
        """A number for a singleton stage, the same in every application that has it; -1 for others."""
        singletons = self._singletons
        return singletons.get(variant.application.stages[stage].name, -1)

    @property
    def _singletons(self) -> dict[str, int]:
        names = {each.name: None for app in self.problem.applications for each in app.stages if each.singleton}
        return {name: at for at, name in enumerate(names)}

    def _tolls(self, at: Prices) -> Floats | None:
        """What a byte a second costs from node to node along its path; None where all links are free."""
        cluster = self.problem.cluster
        prices = {
            where: float(at.rows[row]) * 8 / cluster.arcs[where].bandwidth
            for (what, where), row in self.rows.items()
            if what == "link" and row < len(at.rows) and at.rows[row] > 0
        }
        return along_paths(self.problem, prices) if prices else None

    def _add(self, number: int, variant: Variant, found: Ways, position: int) -> bool:
        rows = tuple(map(int, found.rows[position]))
        nodes = tuple(map(int, found.nodes[position]))
        key = number, id(variant), rows, nodes
        if key in self._known:
            return False
        self._known.add(key)
        group = self.groups[number]
        cost, uses = self._weigh(group, variant, rows, nodes)
        constant, worth = self._per_camera(variant, 2)
        latency = float(found.seconds[position])
        cost += constant + worth * latency
        self.ways.append(Way(number, variant, rows, nodes, latency, cost, uses))
        return True

    def _weigh(
        self, group: Group, variant: Variant, rows: Sequence[int], nodes: Sequence[int]
    ) -> tuple[float, tuple[tuple[int, float], ...]]:
        """What a camera on these choices costs, and takes of each scarce thing."""
        cluster = self.problem.cluster
        cost, uses = 0.0, dict[Row, float]()
        for stage, (choices, row, node) in enumerate(zip(variant.choices, rows, nodes, strict=True)):
            if variant.stays[stage] or choices.services[row] is None:
                continue
            replicas = group.rate / float(choices.capacity[row])
            cost += float(choices.reserve[row]) * replicas + float(choices.frame[row]) * group.rate
            for what, need in zip(RESOURCES, choices.needs[row], strict=True):
                have = getattr(cluster.nodes[node], what)
                if need and have < np.inf:
                    uses[what, node] = uses.get((what, node), 0.0) + replicas * float(need) / have
            single = self._number(variant, stage)
            if single >= 0:
                uses["singleton", single] = uses.get(("singleton", single), 0.0) + replicas
        for arc, size in shipped(self.problem, variant, nodes):
            load = 8 * size * group.rate / cluster.arcs[arc].bandwidth
            uses["link", arc] = uses.get(("link", arc), 0.0) + load
        return cost, tuple((self.rows.setdefault(row, len(self.rows)), value) for row, value in uses.items())


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


def along_paths(problem: Problem, prices: dict[int, float]) -> NDArray[np.float64]:
    """The sum of prices of arcs along the path from every node (rows) to every node."""
    cluster = problem.cluster
    count = len(cluster.nodes)
    hop = np.zeros((count, count))
    for (start, end), arc in cluster.between.items():
        hop[start, end] = prices.get(arc, 0.0)
    before = np.array([cluster.tree(origin)[1] for origin in range(count)], np.int64).reshape(count, count)
    rows, here = np.arange(count)[:, None], np.broadcast_to(np.arange(count), (count, count))
    total = np.zeros((count, count))
    while True:
        previous = before[rows, here]
        if (previous < 0).all():
            return total
        previous = np.where(previous < 0, here, previous)
        total += hop[previous, here]
        here = previous


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
