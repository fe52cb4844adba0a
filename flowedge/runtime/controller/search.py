"""A goal that is missed before the settings have been rehearsed: they are tried on the run itself.

Rehearsals get what a full machine leaves, which may be next to nothing for minutes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from flowedge.planner.model.profiles import Setting
from flowedge.runtime.controller.adaptation import Situation
from flowedge.runtime.controller.pace import MISSES, SETTLED_SECONDS


class Search:
    """Goes through the settings until one keeps the goal, a latency in seconds, else stays at the fastest.

    >>> search = Search([(("tiles", 4),), (("tiles", 1),)], 0.25)
    >>> slow = Situation((("tiles", 4),), {}, {"door": [10.0]}, latency=0.9)
    >>> search.next(100.0, slow), search.next(101.0, slow)
    (None, (('tiles', 1),))
    """

    def __init__(self, settings: Sequence[Setting], goal: float) -> None:
        self._settings = settings
        self._goal = goal
        self._latency: dict[Setting, float] = {}
        self._missed = 0
        self._changed = -math.inf

    def next(self, now: float, situation: Situation) -> Setting | None:
        """The setting to have from now on; None where the one in force is to stay."""
        self._missed = self._missed + 1 if situation.latency > self._goal else 0
        if now - self._changed < SETTLED_SECONDS or self._missed < MISSES or self._ended:
            return None
        self._latency[situation.setting] = situation.latency
        untried = (setting for setting in self._settings if setting not in self._latency)
        wanted = next(untried, None) or min(self._latency, key=self._latency.__getitem__)
        return None if wanted == situation.setting else wanted

    @property
    def _ended(self) -> bool:
        """Whether all have been tried: to go on would only be to and fro."""
        return len(self._latency) == len(self._settings)

    def changed(self, now: float) -> None:
        """The setting was changed."""
        self._changed, self._missed = now, 0
