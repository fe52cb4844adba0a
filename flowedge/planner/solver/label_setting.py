"""Label setting: the cheapest assignments of a graph's stages that are in time, on given prices.

A label is a partial assignment: where the stages so far are, when each of their results is there, and the cost
up to now. Of two labels that have the stages which still matter on the same nodes, one that costs more and is
later everywhere is dropped. `potentials` bound the rest of the cost from below, so that labels above a
`ceiling` are dropped too (A*, as in Boland, Dethridge and Dumitrescu, Operations Research Letters 34, 2006).
The labels are rows of arrays, and each stage extends all of them at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from flowedge.planner.options.delays import Delays
from flowedge.planner.solver.instance import Configuration, Floats, Ints
from flowedge.planner.solver.tuning import TOLERANCE, Tuning

_LARGEST = 2**62  # of a key


@dataclass(frozen=True)
class PricedChoices:
    """What may run a stage: on which node, at what cost, how long; `rows` are the caller's names of them."""

    nodes: Ints
    cost: Floats
    seconds: Floats
    rows: Ints

    def only(self, kept: NDArray[np.bool_] | Ints) -> PricedChoices:
        """Some of them."""
        return PricedChoices(self.nodes[kept], self.cost[kept], self.seconds[kept], self.rows[kept])

    def best(self) -> PricedChoices:
        """Without those that another one on the same node beats in cost and time."""
        order = np.lexsort((self.seconds, self.cost, self.nodes))
        return self.only(order[_falling(self.nodes[order], self.seconds[order])])


@dataclass(frozen=True)
class CompleteLabels:
    """Labels of the whole graph, cheapest first: costs, seconds, `rows` (L x stages) and `nodes` (L x stages).

    An assignment that the search skipped costs at least `floor`, which is infinite where it skipped none.
    `work` is the effort of the search, in pairs of a label and a choice.
    """

    costs: Floats
    seconds: Floats
    rows: Ints
    nodes: Ints
    floor: float
    work: float


@dataclass
class _Labels:
    """L partial assignments; `low` is a lower bound of the latency, `bound` of the cost of any completion."""

    cost: Floats
    bound: Floats
    low: Floats
    nodes: Ints
    times: Floats
    rows: Ints

    def __len__(self) -> int:
        return len(self.cost)

    def only(self, kept: NDArray[np.bool_] | Ints) -> _Labels:
        return _Labels(
            self.cost[kept],
            self.bound[kept],
            self.low[kept],
            self.nodes[kept],
            self.times[kept],
            self.rows[kept],
        )


@dataclass(frozen=True)
class LabelSetting:
    """A search on given prices: `byte_prices` per byte from node to node (None if free), `worth` of a second.

    At most `most` labels are kept at a stage. `opening` is what a node costs an assignment that uses it, once
    (None if nothing). With it the search is a heuristic: of labels that differ only in stages which matter no
    longer one is kept, though the others may have paid for a node that a later stage uses as well.
    """

    configuration: Configuration
    delays: Delays
    offered: Sequence[PricedChoices]
    rest: Sequence[Floats]
    tuning: Tuning
    byte_prices: Floats | None = None
    worth: float = 0.0
    most: int = 400
    opening: Floats | None = None

    def among(self, source: int, nodes: NDArray[np.bool_], ceiling: float = np.inf) -> CompleteLabels:
        """As `extend`, but only over some nodes; `floor` then bounds assignments that use others as well."""
        offered = [choices.only(nodes[choices.nodes]) for choices in self.offered]
        complete = replace(self, offered=offered).extend(source, ceiling)
        return replace(complete, floor=min(complete.floor, self._least(source)))

    def _least(self, source: int) -> float:
        """The least cost of any assignment of cameras at a node, as far as it is known beforehand."""
        firsts = zip(self.rest, self.configuration.inputs, strict=True)
        return float(sum(rest[source] for rest, inputs in firsts if not inputs))

    def extend(self, source: int, ceiling: float = np.inf) -> CompleteLabels:
        """The labels of all stages for cameras at a node that cost less than `ceiling` and are in time."""
        stages = len(self.configuration.inputs)
        width = (1, stages)
        first = self._least(source)
        if not first < ceiling:
            none = np.zeros((0, stages), np.int64)
            return CompleteLabels(np.zeros(0), np.zeros(0), none, none, np.inf, 0.0)
        labels = _Labels(
            np.zeros(1),
            np.full(1, first),
            np.zeros(1),
            np.zeros(width, np.int64),
            np.zeros(width),
            np.zeros(width, np.int64),
        )
        live = self.configuration.live(byte_prices=self.byte_prices is not None)
        floor, work = np.inf, 0.0
        for stage in range(stages):
            work += self.tuning.work_stage + len(labels) * len(self.offered[stage].nodes)
            labels = self._extended(labels, stage, source, ceiling)
            if len(labels) > 4 * self.most:
                labels, lost = _cheapest(labels, 4 * self.most)
                floor = min(floor, lost)
            if stage < stages - 1:
                labels = self._undominated(labels, live[stage])
            if len(labels) > self.most:
                labels, lost = _cheapest(labels, self.most)
                floor = min(floor, lost)
        labels = labels.only(np.argsort(labels.bound, kind="stable"))
        return CompleteLabels(labels.bound, labels.low, labels.rows, labels.nodes, floor, work)

    def _extended(self, labels: _Labels, stage: int, source: int, ceiling: float) -> _Labels:
        inputs = self.configuration.inputs[stage]
        offered = self.offered[stage]
        ahead = labels.bound - self.rest[stage][labels.nodes[:, inputs[0]] if inputs else source]
        children = [child for child, come in enumerate(self.configuration.inputs) if come and come[0] == stage]
        if self.configuration.follows_input[stage]:
            label = np.arange(len(labels))
            nodes = labels.nodes[:, inputs[0]]
            added, rows = np.zeros(len(labels)), nodes
            done = self._arrived(labels, stage, label, nodes, skip_first=True)
        else:
            if not inputs:
                offered = offered.only(offered.nodes == source)
            beyond = offered.cost + sum(self.rest[child][offered.nodes] for child in children)
            if len(labels):
                offered = offered.only(ahead.min() + beyond < ceiling)
            # All pairs of a label and an offer, but only those that can still be cheap enough.
            beyond = offered.cost + sum(self.rest[child][offered.nodes] for child in children)
            label, chosen = np.nonzero(ahead[:, None] + beyond < ceiling)
            nodes, added, rows = offered.nodes[chosen], offered.cost[chosen], offered.rows[chosen]
            added = added + self._opened(labels, stage, label, nodes)
            done = self._arrived(labels, stage, label, nodes) + offered.seconds[chosen]
        latency = done + self.configuration.rest[stage][nodes]
        low = np.maximum(labels.low[label], np.where(latency < np.inf, latency, 0.0))
        cost = labels.cost[label] + added
        if self.byte_prices is not None:
            cost += self._sent(labels, stage, label, nodes)
        bound = cost + (ahead - labels.cost + self.worth * -labels.low)[label] + self.worth * low
        for child in children:
            bound += self.rest[child][nodes]
        goal = self.configuration.application.latency
        kept = np.nonzero((latency <= goal * (1 + TOLERANCE)) & (latency < np.inf) & (bound < ceiling))[0]
        label = label[kept]
        extended = _Labels(
            cost[kept], bound[kept], low[kept], labels.nodes[label], labels.times[label], labels.rows[label]
        )
        extended.nodes[:, stage] = nodes[kept]
        extended.times[:, stage] = done[kept]
        extended.rows[:, stage] = rows[kept]
        return extended

    def _opened(self, labels: _Labels, stage: int, label: Ints, nodes: Ints) -> Floats | float:
        """The cost of using a node, where a stage has a replica and none of the stages before has one there."""
        if self.opening is None or not self._has_replicas(stage):
            return 0.0
        before = [other for other in range(stage) if self._has_replicas(other)]
        used = (labels.nodes[label][:, before] == nodes[:, None]).any(axis=1)
        return np.where(used, 0.0, self.opening[nodes])

    def _has_replicas(self, stage: int) -> bool:
        return not self.configuration.follows_input[stage] and any(self.configuration.choices[stage].services)

    def _arrived(
        self, labels: _Labels, stage: int, label: Ints, nodes: Ints, *, skip_first: bool = False
    ) -> Floats:
        """When all inputs of a stage are on its node."""
        ready = np.zeros(len(label))
        for position, name in enumerate(self.configuration.inputs[stage]):
            came = labels.times[label, name]
            if not (skip_first and position == 0):
                start = labels.nodes[label, name]
                size = self.configuration.sizes[name]
                came = came + self.delays.fixed[start, nodes] + size * self.delays.per_byte[start, nodes]
            ready = np.maximum(ready, came)
        return ready

    def _sent(self, labels: _Labels, stage: int, label: Ints, nodes: Ints) -> Floats:
        """The price of sending a stage its inputs; nothing for an output that this node is sent already."""
        assert self.byte_prices is not None
        total = np.zeros(len(label))
        for name in self.configuration.inputs[stage]:
            size = self.configuration.sizes[name]
            if size:
                price = size * self.byte_prices[labels.nodes[label, name], nodes]
                for other in self.configuration.consumers[name]:
                    if other < stage:
                        price[labels.nodes[label, other] == nodes] = 0.0
                total += price
        return total

    def _undominated(self, labels: _Labels, live: Sequence[int]) -> _Labels:
        key = np.zeros(len(labels), np.int64)
        count = len(self.delays.fixed)
        for number, stage in enumerate(live):
            key = key * count + labels.nodes[:, stage]
            if count ** (number + 2) > _LARGEST:  # else the next one fits in as well
                key = np.unique(key, return_inverse=True)[1]
        timed = self.configuration.application.latency < np.inf or self.worth > 0
        times = [labels.times[:, stage] for stage in live] if timed else []
        if self.worth > 0:
            times.append(labels.low)
        if len(times) < 2:
            single = times[0] if times else np.zeros(len(labels))
            order = np.lexsort((single, labels.cost, key))
            return labels.only(order[_falling(key[order], single[order])])
        order = np.lexsort((np.sum(times, axis=0), labels.cost, key))
        return labels.only(order[_pareto(key[order], np.stack(times, axis=1)[order])])


def potentials(
    configuration: Configuration, offered: Sequence[PricedChoices], byte_prices: Floats | None, count: int
) -> list[Floats]:
    """For each stage, the least cost of it and all behind it, by the node of its first input (of the camera).

    Time, and what other inputs and outputs with several takers cost to send, are left out.
    """
    rest = [np.zeros(count) for _ in offered]
    for stage in reversed(range(len(offered))):
        behind = np.zeros(count)
        for child, inputs in enumerate(configuration.inputs):
            if inputs and inputs[0] == stage:
                behind += rest[child]
        if configuration.follows_input[stage]:
            rest[stage] = behind
            continue
        own = np.full(count, np.inf)
        np.minimum.at(own, offered[stage].nodes, offered[stage].cost)
        own += behind
        inputs = configuration.inputs[stage]
        if not inputs:
            rest[stage] = own
        elif (
            byte_prices is None
            or not configuration.sizes[inputs[0]]
            or len(configuration.consumers[inputs[0]]) > 1
        ):
            rest[stage] = np.full(count, own.min())
        else:
            near = np.nonzero(own < np.inf)[0]
            reached = configuration.sizes[inputs[0]] * byte_prices[:, near] + own[near]
            rest[stage] = reached.min(axis=1) if len(near) else np.full(count, np.inf)
    return rest


def _cheapest(labels: _Labels, most: int) -> tuple[_Labels, float]:
    """The labels of the least bounds, some of the quickest among them, and the least bound of the others."""
    kept = np.zeros(len(labels), bool)
    kept[np.argpartition(labels.bound, most * 3 // 4)[: most * 3 // 4]] = True
    kept[np.argpartition(labels.low, most // 4)[: most // 4]] = True
    return labels.only(kept), float(labels.bound[~kept].min(initial=np.inf))


def _falling(key: Ints, values: Floats) -> NDArray[np.bool_]:
    """Which values are below all before them with the same key; equal keys are together."""
    if not len(key):
        return np.zeros(0, bool)
    starts = _starts(key)
    group = np.cumsum(starts) - 1
    rank = np.unique(values, return_inverse=True)[1]
    shifted = rank - group * (len(values) + 1)
    least = np.minimum.accumulate(shifted)
    starts[1:] |= shifted[1:] < least[:-1]
    return starts


def _starts(key: Ints) -> NDArray[np.bool_]:
    """Which of the keys differ from the one before; equal ones are together."""
    starts = np.ones(len(key), bool)
    np.not_equal(key[1:], key[:-1], out=starts[1:])
    return starts


def _pareto(key: Ints, times: Floats, rounds: int = 4) -> Ints:
    """Positions of rows that none of the first few of their group is at or below in every time."""
    kept = np.arange(len(key))
    for position in range(rounds):
        group = key[kept]
        starts = np.nonzero(_starts(group))[0]
        sizes = np.diff(starts, append=len(group))
        rank = np.arange(len(group)) - np.repeat(starts, sizes)
        pivot = np.repeat(np.minimum(starts + position, starts + sizes - 1), sizes)
        beaten = (rank > position) & (times[kept] >= times[kept][pivot]).all(axis=1)
        kept = kept[~beaten]
    return kept
