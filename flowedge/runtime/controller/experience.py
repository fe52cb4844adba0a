"""What settings really took, learnt whenever a run goes over from one to another.

A rehearsal tells what an operator takes alone, on few frames and beside a busy run; how much longer it takes in
another setting is known better once it has worked in both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from flowedge.planner.model.profiles import Setting
from flowedge.runtime.controller.adaptation import Cost, Situation

WEIGHT = 0.5
"""Of the latest change in what is known of a setting, as an exponent: factors are multiplied."""

MOST = 2.0
"""The most by which work is corrected, either way."""

LEAST_SECONDS = 0.003
"""Shorter services are left alone: they are mostly other operators' contention."""


class Experience:
    """Corrects the work of settings by what was measured before and after changes."""

    def __init__(self) -> None:
        self._factors: dict[tuple[Setting, str], float] = {}

    def corrected(self, costs: Mapping[Setting, Cost]) -> dict[Setting, Cost]:
        """The costs with the work that operators really have.

        >>> dear, cheap = (("size", 512),), (("size", 416),)
        >>> costs = {cheap: Cost({"Detect": 0.1}), dear: Cost({"Detect": 0.2})}
        >>> experience = Experience()
        >>> before = Situation(cheap, {"Detect": 0.05}, {"door": [2.0]}, latency=0.06)
        >>> after = Situation(dear, {"Detect": 0.08}, {"door": [2.0]}, latency=0.09)
        >>> experience.note(before, after, costs)
        >>> round(experience.corrected(costs)[dear].work["Detect"], 2)  # half the way to 0.16
        0.18
        """
        return {
            setting: replace(
                cost,
                work={name: work * self._factors.get((setting, name), 1.0) for name, work in cost.work.items()},
            )
            for setting, cost in costs.items()
        }

    def note(self, before: Situation, after: Situation, costs: Mapping[Setting, Cost]) -> None:
        """What was measured before and after all cameras went over to another setting; `costs` as rehearsed."""
        known = self.corrected(costs)
        if before.setting == after.setting or not known.keys() >= {before.setting, after.setting}:
            return
        was, is_now = known[before.setting].work, known[after.setting].work
        for name in before.service.keys() & after.service.keys() & was.keys() & is_now.keys():
            if (
                min(before.service[name], after.service[name]) < LEAST_SECONDS
                or not was[name]
                or not is_now[name]
            ):
                continue
            error = (after.service[name] / before.service[name]) / (is_now[name] / was[name])
            factor = self._factors.get((after.setting, name), 1.0) * error**WEIGHT
            self._factors[after.setting, name] = min(MOST, max(1 / MOST, factor))
