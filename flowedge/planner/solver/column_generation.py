"""Column generation (Dantzig and Wolfe, Operations Research 8, 1960): a bound for every plan, and its prices.

In the relaxation replicas are fractions, nobody waits for one, and cameras of a class may be split at will; so
its optimum is a bound for every plan. It is solved as a restricted master problem
(`flowedge.planner.solver.master_problem`) that grows: its duals price the nodes' resources, the links, the
singletons and the pools, and label setting finds the columns that would lower the cost on these prices. For any
prices p from 0,

    sum over groups(cameras x least priced cost of a camera) - sum of the prices of what is scarce

(capacities being scaled to 1) is a lower bound as well (Lagrange), at any iteration, provided that the prices
pay for no replica more than it costs, and for no machine more than its fixed cost and the price of its limit.
The part of a replica's cost that the prices do not pay is shared by all the frames that it could carry; this
holds for pools that are in no column yet, too.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from flowedge.planner.model.problem import Problem
from flowedge.planner.options.delays import Delays, prices_along_paths
from flowedge.planner.solver.instance import RESOURCES, Configuration, Floats, Group
from flowedge.planner.solver.label_setting import CompleteLabels, LabelSetting, PricedChoices, potentials
from flowedge.planner.solver.master_problem import Column, RestrictedMaster, RowName
from flowedge.planner.solver.tuning import Budget, Tuning, tuning_for


@dataclass
class Relaxation:
    """What column generation found: `values` are cameras on `columns`, `bound` holds for every plan.

    `prices` are those of the rows. `missing` counts the cameras without any column; where it is above 0 and
    `proven`, there is no plan at all. `scarce` names the rows of resources, links and singletons with a price.
    """

    columns: list[Column]
    values: Floats
    prices: Floats
    value: float
    bound: float
    missing: float
    proven: bool
    rounds: int
    scarce: tuple[RowName, ...] = ()


@dataclass
class ColumnGeneration:
    """The master problem of a problem, with label setting to find its columns.

    `of` is the group of each camera class.
    """

    problem: Problem
    delays: Delays
    configurations: dict[str, tuple[Configuration, ...]]
    groups: list[Group]
    of: list[int]
    programme: RestrictedMaster = field(init=False)
    _known: set[tuple[int, int, tuple[int, ...], tuple[int, ...]]] = field(default_factory=set)
    _near: dict[tuple[int, int], NDArray[np.bool_]] = field(default_factory=dict)
    tuning: Tuning = field(init=False)
    _most: int = field(init=False)
    _narrow: bool = field(init=False)

    def __post_init__(self) -> None:
        self.tuning = tuning_for(len(self.groups))
        self._most = self.tuning.first_labels
        self._narrow = len(self.delays.fixed) > self.tuning.large
        self.programme = RestrictedMaster(self.problem, self.groups, self.tuning)

    @property
    def columns(self) -> list[Column]:
        """The columns that are known."""
        return self.programme.columns

    def solve(self, budget: Budget, *, gap: float = 1e-4) -> Relaxation:
        """Generate columns until the bound is within a share `gap` of the value, or the budget is spent."""
        if not self.tuning.few:
            self._begin(budget)
        relaxation = self._generate(budget, gap, phase=2)
        if relaxation.missing > self.tuning.missing and self._narrow:
            self._narrow = False
            relaxation = self._generate(budget, gap, phase=2)
        if relaxation.missing > self.tuning.missing:
            relaxation = self._generate(budget, gap, phase=1)
            if relaxation.missing <= self.tuning.missing:
                self.programme.complete = True
                relaxation = self._generate(budget, gap, phase=2)
        return relaxation

    def _generate(self, budget: Budget, gap: float, *, phase: int) -> Relaxation:
        bound, rounds = -np.inf, 0
        while True:
            rounds += 1
            now = self.programme.optimum(phase)
            budget.spend(self.tuning.work_programme * len(now.values))
            added, lower = self._price(now.rows, phase, budget)
            bound = max(bound, lower)
            done = now.value - bound <= gap * max(abs(now.value), 1e-9) and now.missing <= 1e-7
            if phase == 1 and (now.value <= 1e-7 or bound > 1e-6 * max(1.0, now.value)):
                done = True
            if done or budget.over or (not added and self._most >= self.tuning.most_labels):
                break
            if not added:
                self._most = min(4 * self._most, self.tuning.most_labels)
        proven = phase == 1 and bound > self.tuning.missing
        names = list(self.programme.rows)
        scarce = tuple(
            names[position]
            for position in np.nonzero(now.rows > 1e-9)[0]
            if names[position][0] in ("link", "singleton", *RESOURCES)
        )
        return Relaxation(
            self.columns, now.values, now.rows, now.value, bound, now.missing, proven, rounds, scarce
        )

    def _begin(self, budget: Budget) -> None:
        """Add the cheapest columns that keep to one tier as far as they can, for useful first prices."""
        for tier in self.problem.cluster.tiers:
            outside = np.array([node.tier != tier for node in self.problem.cluster.nodes])
            self._price(np.zeros(0), 2, budget, dear=outside)

    def nearest(self, node: int, most: int) -> NDArray[np.bool_]:
        """The nodes nearest to cameras at a node, of those that could serve anything, and a few of each tier.

        Kept for the next call.
        """
        if (node, most) not in self._near:
            cluster = self.problem.cluster
            mask = np.zeros(len(cluster.nodes), bool)
            mask[node] = True
            order = [int(at) for at in np.argsort(self.delays.fixed[node], kind="stable") if self._useful[at]]
            mask[order[:most]] = True
            for tier in cluster.tiers:
                mask[[at for at in order if cluster.nodes[at].tier == tier][: self.tuning.nearest_of_tier]] = (
                    True
                )
            self._near[node, most] = mask
        return self._near[node, most]

    @cached_property
    def _useful(self) -> NDArray[np.bool_]:
        """The nodes that could serve anything that costs something, or that a pin sends something to."""
        mask = np.zeros(len(self.delays.fixed), bool)
        for configurations in self.configurations.values():
            for configuration in configurations:
                for stage, choices in zip(configuration.application.stages, configuration.choices, strict=True):
                    if not stage.source and (stage.tier or any(choices.services)):
                        mask[choices.nodes] = True
        return mask

    def gains(self) -> list[float]:
        """The most by which a camera of each group can make the objective better."""
        if self.problem.minimize != "utility":
            return [0.0] * len(self.groups)
        return [
            max(configuration.accuracy for configuration in self.configurations[group.application])
            for group in self.groups
        ]

    def _price(
        self,
        prices: Floats,
        phase: int,
        budget: Budget,
        *,
        dear: NDArray[np.bool_] | None = None,
    ) -> tuple[int, float]:
        """Add columns that would lower the value; return how many, and the Lagrangian bound at these prices.

        With `dear` nodes, which are then avoided, it adds the cheapest columns and the bound means nothing.
        """
        groups, programme = len(self.groups), self.programme
        least = np.full(groups, np.inf)
        if self.columns and dear is None:
            np.minimum.at(least, [column.group for column in self.columns], programme.priced(prices, phase))
        if phase == 1:
            least = np.minimum(least, 1.0)
        limits = np.array(programme.limits)[: len(prices)]
        byte_prices = self._byte_prices(prices)
        ready: dict[tuple[int, float, int], tuple[list[PricedChoices], list[Floats]]] = {}
        added = 0
        for (configuration, node, kept, worth, payer), numbers in self._alike(phase):
            key = id(configuration), kept, payer
            if key not in ready:
                offered = self._offered(configuration, prices, phase, kept, payer)
                if dear is not None:
                    offered = [
                        replace(choices, cost=choices.cost + self.tuning.avoided_cost * dear[choices.nodes])
                        for choices in offered
                    ]
                budget.spend(self.tuning.work_choices * len(offered))
                ready[key] = offered, potentials(configuration, offered, byte_prices, len(self.delays.fixed))
            rates = np.array([self.groups[number].rate for number in numbers])
            constant = self._per_camera(configuration, phase)[0]
            worthwhile = np.nan_to_num(abs(least[numbers]), posinf=0.0) * self.tuning.worthwhile
            ceiling = float(((least[numbers] - constant - worthwhile) / rates).max())
            search = LabelSetting(
                configuration, self.delays, *ready[key], self.tuning, byte_prices, worth, self._most
            )
            if not self._narrow:
                labels = search.extend(node, ceiling)
            else:
                labels = search.among(node, self.nearest(node, self.tuning.nearest), ceiling)
            budget.spend(labels.work)
            for number, rate in zip(numbers, rates, strict=True):
                added += self._add_cheapest(number, configuration, labels, least[number], constant)
                cheapest = min(labels.costs[0] if len(labels.costs) else np.inf, labels.floor)
                least[number] = min(least[number], cheapest * rate + constant)
        cameras = np.array([group.cameras for group in self.groups])
        least -= (
            np.nan_to_num(abs(least), posinf=0.0) * self.tuning.worthwhile
        )  # what a column may cost less unseen
        return added, float(cameras @ least - limits @ prices)

    def _alike(self, phase: int) -> list[tuple[tuple[Configuration, int, float, float, int], list[int]]]:
        """Groups for which one search does, as prices are per frame.

        Their key is the configuration, the node, the rate (0: any), the worth of a second, and the group that
        pays for pools (-1: all alike).
        """
        searches: dict[
            tuple[int, int, float, float, int], tuple[tuple[Configuration, int, float, float, int], list[int]]
        ] = {}
        for number, group in enumerate(self.groups):
            for configuration in self.configurations[group.application]:
                worth = self._per_camera(configuration, phase)[1] / group.rate
                payer = number if self.tuning.few else -1
                key = configuration, group.node, self._kept_rate(configuration, group.rate), worth, payer
                searches.setdefault((id(configuration), *key[1:]), (key, []))[1].append(number)
        return list(searches.values())

    def _per_camera(self, configuration: Configuration, phase: int) -> tuple[float, float]:
        """What a camera adds to the objective beside its frames, and what each second of latency adds."""
        if phase == 1 or self.problem.minimize != "utility":
            return 0.0, 0.0
        return -configuration.accuracy, self.problem.theta

    def _kept_rate(self, configuration: Configuration, rate: float) -> float:
        """The rate, if keyed stages make some choices impossible at it, else 0."""
        masks = configuration.admits(rate)
        return 0.0 if all(mask is None or mask.all() for mask in masks) else rate

    def _offered(
        self, configuration: Configuration, prices: Floats, phase: int, rate: float, payer: int
    ) -> list[PricedChoices]:
        """What a frame, of the group that pays, costs at these prices by each choice of each stage."""
        programme, nodes = self.programme, self.problem.cluster.nodes
        unit = np.zeros((len(self.delays.fixed), len(RESOURCES)))
        for (what, where), row in programme.rows.items():
            if what in RESOURCES and row < len(prices):
                unit[where, RESOURCES.index(what)] = prices[row] / getattr(nodes[where], what)
        if phase == 2:
            unit[:, 0] += self._unused_prices(len(prices))
        offered_by_stage = []
        stages = zip(
            configuration.application.stages, configuration.choices, configuration.admits(rate), strict=True
        )
        for stage, choices, mask in stages:
            single = programme.rows.get(("singleton", programme.singletons.get(stage.name, -1)), len(prices))
            replica = (choices.needs * unit[choices.nodes]).sum(axis=1)
            replica += choices.reserve if phase == 2 else 0.0
            replica += prices[single] if single < len(prices) else 0.0
            paid, own = programme.paid(prices, payer, stage.name, choices)
            own += programme.stage_prices(prices, stage.name, payer, choices)
            unpaid = np.maximum(replica - paid, 0.0)
            own += choices.frame if phase == 2 else 0.0
            cost = own + unpaid / programme.carried(stage.name, choices)
            offered = PricedChoices(choices.nodes, cost, choices.seconds, np.arange(len(choices)))
            offered_by_stage.append((offered if mask is None else offered.only(mask)).best())
        return offered_by_stage

    def _unused_prices(self, row_count: int) -> Floats:
        """By node with a fixed cost that none of the first `row_count` rows is about, the price of a core.

        All cores together pay the fixed cost. It is a valid price, since no more than all cores are taken.
        """
        costs = self.programme.fixed_costs
        cores = np.array([node.cores for node in self.problem.cluster.nodes], float)
        core_prices: Floats = np.divide(
            costs, cores, out=np.zeros_like(costs), where=(cores > 0) & (cores < np.inf)
        )
        core_prices[
            [node for node, machine in self.programme.machines.items() if machine.takes[0][0] < row_count]
        ] = 0.0
        return core_prices

    def _byte_prices(self, prices: Floats) -> Floats | None:
        """What a byte a second costs from node to node along its path; None where all links are free."""
        cluster = self.problem.cluster
        byte_prices = {
            where: float(prices[row]) * 8 / cluster.arcs[where].bandwidth
            for (what, where), row in self.programme.rows.items()
            if what == "link" and row < len(prices) and prices[row] > 0
        }
        return prices_along_paths(self.problem.cluster, byte_prices) if byte_prices else None

    def _add_cheapest(
        self, number: int, configuration: Configuration, labels: CompleteLabels, least: float, constant: float
    ) -> int:
        """Add the cheapest new columns that cost less than `least`; return how many."""
        added = 0
        for position, cost in enumerate(labels.costs):
            if cost * self.groups[number].rate + constant >= least:
                break
            rows = tuple(map(int, labels.rows[position]))
            nodes = tuple(map(int, labels.nodes[position]))
            key = number, id(configuration), rows, nodes
            if key in self._known:
                continue
            self._known.add(key)
            self.programme.add(number, configuration, rows, nodes, float(labels.seconds[position]))
            added += 1
            if added == self.tuning.columns:
                break
        return added
