"""Column generation (Dantzig and Wolfe, Operations Research 8, 1960): a bound for every plan, and its prices.

The relaxation is the plan in which replicas are fractions, nobody waits for one, and cameras of a class may be
split at will (`flowedge.planner.solver.master_problem`); so its optimum is a bound for every plan. Its duals
price the nodes' resources, the links, the singletons and the pools, and on these prices the ways are found that
would lower the cost. For any prices p from 0,

    sum over groups(cameras x least priced cost of a camera) - sum of the prices of what is scarce

(capacities being scaled to 1) is a lower bound as well (Lagrange), which holds before the end, if no replica is
paid more than it costs. What is left of its cost is shared by all the frames that it could carry: that is true
of pools that are in no way yet, too.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from flowedge.planner.model.problem import Problem
from flowedge.planner.options.columns import Network
from flowedge.planner.solver.instance import RESOURCES, Floats, Variant
from flowedge.planner.solver.label_setting import Budget, Offered, Search, Ways, potentials
from flowedge.planner.solver.master_problem import Restricted, Row
from flowedge.planner.solver.ways import FEW, Group, Way, along_paths

_WORTH_A_COLUMN = 1e-6  # share of the price of a camera by which a column must lower it
_LABELS = 8, 30, 400  # kept at each stage of a search at first, with many and with few groups, and at most
_COLUMNS = 1, 3  # added for a group in a round, with many and with few groups
_LARGE = 60  # nodes from which not all are looked at
_NEAREST, _EACH = 16, 2  # nodes that are looked at then, and of each tier
_LOST = 1e-6  # cameras without a way that count as none
_PROGRAMME = 400.0  # work for each way to solve the programme
_PREPARED = 4000.0  # work to price the choices of a stage
_DEAR = 1e6  # for a frame, far above anything else


@dataclass
class Relaxation:
    """What column generation found: `values` are cameras on `ways`, `bound` holds for every plan.

    `prices` are those of the rows. `missing` are cameras without any way; where it is above 0 and `proven`,
    there is no plan at all.
    """

    ways: list[Way]
    values: Floats
    prices: Floats
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
    programme: Restricted = field(init=False)
    _known: set[tuple[int, int, tuple[int, ...], tuple[int, ...]]] = field(default_factory=set)
    _near: dict[tuple[int, int], NDArray[np.bool_]] = field(default_factory=dict)
    _most: int = field(init=False)
    _narrow: bool = field(init=False)

    def __post_init__(self) -> None:
        self._most = _LABELS[not self.many]
        self._narrow = len(self.net.fixed) > _LARGE
        self.programme = Restricted(self.problem, self.groups, pooled=not self.many)

    @property
    def many(self) -> bool:
        """Whether there are more than a few groups."""
        return len(self.groups) > FEW

    @property
    def ways(self) -> list[Way]:
        """The ways that are known."""
        return self.programme.ways

    def solve(self, budget: Budget, *, gap: float = 1e-4) -> Relaxation:
        """Generates columns until the bound is within a share `gap` of the value, or the budget is spent."""
        if self.many:
            self._begin(budget)
        found = self._generate(budget, gap, phase=2)
        if found.missing > _LOST and self._narrow:
            self._narrow = False
            found = self._generate(budget, gap, phase=2)
        if found.missing > _LOST:
            found = self._generate(budget, gap, phase=1)
            if found.missing <= _LOST:
                self.programme.complete = True
                found = self._generate(budget, gap, phase=2)
        return found

    def _generate(self, budget: Budget, gap: float, *, phase: int) -> Relaxation:
        bound, rounds = -np.inf, 0
        while True:
            rounds += 1
            now = self.programme.optimum(phase)
            budget.spend(_PROGRAMME * len(now.values))
            added, lower = self._price(now.rows, phase, budget)
            bound = max(bound, lower)
            done = now.value - bound <= gap * max(abs(now.value), 1e-9) and now.missing <= 1e-7
            if phase == 1 and (now.value <= 1e-7 or bound > 1e-6 * max(1.0, now.value)):
                done = True
            if done or budget.over or (not added and self._most >= _LABELS[2]):
                break
            if not added:
                self._most = min(4 * self._most, _LABELS[2])
        proven = phase == 1 and bound > _LOST
        names = list(self.programme.rows)
        scarce = tuple(
            names[each] for each in np.nonzero(now.rows > 1e-9)[0] if self.programme.limits[each] > 0
        )
        return Relaxation(
            self.ways, now.values, now.rows, now.value, bound, now.missing, proven, rounds, scarce
        )

    def _begin(self, budget: Budget) -> None:
        """The cheapest ways that keep to each tier as far as they can, so that first prices say something."""
        for tier in self.problem.cluster.tiers:
            outside = np.array([node.tier != tier for node in self.problem.cluster.nodes])
            self._price(np.zeros(0), 2, budget, dear=outside)

    def nearest(self, node: int, most: int) -> NDArray[np.bool_]:
        """The nodes that are the nearest to cameras at a node, of all that could do anything, and a few of each
        tier; kept.
        """
        if (node, most) not in self._near:
            cluster = self.problem.cluster
            mask = np.zeros(len(cluster.nodes), bool)
            mask[node] = True
            order = [int(at) for at in np.argsort(self.net.fixed[node], kind="stable") if self._useful[at]]
            mask[order[:most]] = True
            for tier in cluster.tiers:
                mask[[at for at in order if cluster.nodes[at].tier == tier][:_EACH]] = True
            self._near[node, most] = mask
        return self._near[node, most]

    @cached_property
    def _useful(self) -> NDArray[np.bool_]:
        """The nodes that could serve anything that costs something, or that a pin sends something to."""
        mask = np.zeros(len(self.net.fixed), bool)
        for variants in self.variants.values():
            for variant in variants:
                for stage, choices in zip(variant.application.stages, variant.choices, strict=True):
                    if not stage.source and (stage.tier or any(choices.services)):
                        mask[choices.nodes] = True
        return mask

    def gains(self) -> list[float]:
        """The most by which a camera of each group can make the objective better."""
        if self.problem.minimize != "utility":
            return [0.0] * len(self.groups)
        return [max(each.accuracy for each in self.variants[group.application]) for group in self.groups]

    def _price(
        self,
        prices: Floats,
        phase: int,
        budget: Budget,
        *,
        dear: NDArray[np.bool_] | None = None,
    ) -> tuple[int, float]:
        """Adds the columns that would lower the value; how many, and the Lagrangian bound at these prices.

        With `dear` nodes, which are then avoided, it adds the cheapest columns and there is no bound.
        """
        groups, programme = len(self.groups), self.programme
        least = np.full(groups, np.inf)
        if self.ways and dear is None:
            np.minimum.at(least, [way.group for way in self.ways], programme.priced(prices, phase))
        if phase == 1:
            least = np.minimum(least, 1.0)
        limits = np.array(programme.limits)[: len(prices)]
        tolls = self._tolls(prices)
        ready: dict[tuple[int, float, int], tuple[list[Offered], list[Floats]]] = {}
        added = 0
        for (variant, node, kept, worth, payer), numbers in self._alike(phase):
            key = id(variant), kept, payer
            if key not in ready:
                offered = self._offered(variant, prices, phase, kept, payer)
                if dear is not None:
                    offered = [replace(each, cost=each.cost + _DEAR * dear[each.nodes]) for each in offered]
                budget.spend(_PREPARED * len(offered))
                ready[key] = offered, potentials(variant, offered, tolls, len(self.net.fixed))
            rates = np.array([self.groups[number].rate for number in numbers])
            constant = self._per_camera(variant, phase)[0]
            worthwhile = np.nan_to_num(abs(least[numbers]), posinf=0.0) * _WORTH_A_COLUMN
            ceiling = float(((least[numbers] - constant - worthwhile) / rates).max())
            search = Search(variant, self.net, *ready[key], tolls, worth, self._most)
            if not self._narrow:
                found = search.ways(node, ceiling)
            else:
                found = search.among(node, self.nearest(node, _NEAREST), ceiling)
            budget.spend(found.work)
            for number, rate in zip(numbers, rates, strict=True):
                added += self._add_cheapest(number, variant, found, least[number], constant)
                cheapest = min(found.costs[0] if len(found.costs) else np.inf, found.floor)
                least[number] = min(least[number], cheapest * rate + constant)
        cameras = np.array([each.cameras for each in self.groups])
        least -= np.nan_to_num(abs(least), posinf=0.0) * _WORTH_A_COLUMN  # what a way may cost less unseen
        return added, float(cameras @ least - limits @ prices)

    def _alike(self, phase: int) -> list[tuple[tuple[Variant, int, float, float, int], list[int]]]:
        """Groups for which one search does, as prices are per frame: variant, node, rate (0: any), worth, and
        who pays for pools (-1: all alike).
        """
        found: dict[
            tuple[int, int, float, float, int], tuple[tuple[Variant, int, float, float, int], list[int]]
        ] = {}
        for number, group in enumerate(self.groups):
            for variant in self.variants[group.application]:
                worth = self._per_camera(variant, phase)[1] / group.rate
                payer = number if self.programme.pooled else -1
                key = variant, group.node, self._kept_rate(variant, group.rate), worth, payer
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

    def _offered(self, variant: Variant, prices: Floats, phase: int, rate: float, payer: int) -> list[Offered]:
        """What a frame (of the group that pays) costs by each choice on these prices."""
        programme, nodes = self.programme, self.problem.cluster.nodes
        unit = np.zeros((len(self.net.fixed), len(RESOURCES)))
        for (what, where), row in programme.rows.items():
            if what in RESOURCES and row < len(prices):
                unit[where, RESOURCES.index(what)] = prices[row] / getattr(nodes[where], what)
        found = []
        stages = zip(variant.application.stages, variant.choices, variant.admits(rate), strict=True)
        for stage, choices, mask in stages:
            single = programme.rows.get(("singleton", programme.singletons.get(stage.name, -1)), len(prices))
            replica = (choices.needs * unit[choices.nodes]).sum(axis=1)
            replica += choices.reserve if phase == 2 else 0.0
            replica += prices[single] if single < len(prices) else 0.0
            paid, own = programme.paid(prices, payer, stage.name, choices)
            left = np.maximum(replica - paid, 0.0)
            own += choices.frame if phase == 2 else 0.0
            cost = own + left / programme.carried(stage.name, choices)
            offered = Offered(choices.nodes, cost, choices.seconds, np.arange(len(choices)))
            found.append((offered if mask is None else offered.only(mask)).best())
        return found

    def _tolls(self, prices: Floats) -> Floats | None:
        """What a byte a second costs from node to node along its path; None where all links are free."""
        cluster = self.problem.cluster
        tolls = {
            where: float(prices[row]) * 8 / cluster.arcs[where].bandwidth
            for (what, where), row in self.programme.rows.items()
            if what == "link" and row < len(prices) and prices[row] > 0
        }
        return along_paths(self.problem, tolls) if tolls else None

    def _add_cheapest(self, number: int, variant: Variant, found: Ways, least: float, constant: float) -> int:
        """Adds the cheapest new ways that cost less than `least`; how many."""
        added = 0
        for position, cost in enumerate(found.costs):
            if cost * self.groups[number].rate + constant >= least:
                break
            rows = tuple(map(int, found.rows[position]))
            nodes = tuple(map(int, found.nodes[position]))
            key = number, id(variant), rows, nodes
            if key in self._known:
                continue
            self._known.add(key)
            self.programme.add(number, variant, rows, nodes, float(found.seconds[position]))
            added += 1
            if added == _COLUMNS[not self.many]:
                break
        return added
