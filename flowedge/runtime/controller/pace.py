"""When a running graph is planned anew: often enough to keep its goal, and not more often than that helps."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from flowedge.runtime.controller.adaptation import Situation

SETTLED_SECONDS = 3.0
"""How long a change is given to show what it does before the next."""

HURRY_SECONDS = 2.0
"""As that, where the goal is missed by more than half: the first window still has the frames that waited while
operators were set up, which would have every change for more taken back."""

MISSES = 2
"""How many windows in a row must miss the goal, by less than half, before there is a plan."""

LOOK_SECONDS = 5.0
"""How often it is asked whether more can be had."""

TOLERANCE = 0.1
"""The share of the latency goal that a plan leaves: what comes is seldom just what is expected."""

HEADROOM = 0.2
"""The share that a setting must leave before it is taken for more than the present one."""

LONGEST_SECONDS = 160.0
"""The longest that more is not asked for again after that went wrong: the time doubles each time."""


@dataclass
class Pace:
    """Decides when to plan; `goal` is the latency in seconds, infinite without one.

    >>> pace = Pace(0.25)
    >>> slow = Situation((), {}, {"door": [10.0]}, latency=0.4)
    >>> pace.reason(100.0, slow)  # by more than half: at once
    'latency 400 ms, above the goal of 250 ms'
    >>> pace.changed(100.0, more=False)
    >>> pace.reason(101.0, Situation((), {}, {"door": [10.0]}, latency=0.26)) is None
    True
    """

    goal: float
    headroom: float = TOLERANCE
    """The share of the goal to leave in the plan that `reason` asked for."""
    more: bool = False
    """Whether it asked for more than what is in force, which keeps the goal."""
    _missed: int = 0
    _changed: float = -math.inf
    _looked: float = -math.inf
    _asked_for_more: bool = False
    _not_before: float = -math.inf
    _pause: float = 2 * LOOK_SECONDS
    _cameras: dict[str, int] = field(default_factory=dict)

    def reason(self, now: float, situation: Situation) -> str | None:
        """Why to plan now, in a few words; None where there is no reason."""
        cameras = {name: len(rates) for name, rates in situation.rates.items()}
        before, self._cameras = self._cameras, cameras
        settled = now - self._changed >= SETTLED_SECONDS
        self.headroom, self.more = TOLERANCE, False
        if before and cameras != before:
            return f"{sum(cameras.values())} cameras instead of {sum(before.values())}"
        self._missed = self._missed + 1 if situation.latency > self.goal else 0
        hurry = situation.latency > 1.5 * self.goal and now - self._changed >= HURRY_SECONDS
        if hurry or (self._missed >= MISSES and settled):
            if self._asked_for_more and now - self._changed < 2 * LOOK_SECONDS:
                self._not_before, self._pause = now + self._pause, min(2 * self._pause, LONGEST_SECONDS)
            return f"latency {1e3 * situation.latency:.0f} ms, above the goal of {1e3 * self.goal:.0f} ms"
        if settled and now >= self._not_before and now - self._looked >= LOOK_SECONDS:
            self._looked = now
            self.headroom, self.more = HEADROOM, True
            return "there may be room for more"
        return None

    def changed(self, now: float, *, more: bool) -> None:
        """The settings were changed; `more` if the new ones take more than those before."""
        if self._asked_for_more and now - self._changed >= 2 * LOOK_SECONDS:
            self._pause = 2 * LOOK_SECONDS  # that went well
        self._changed, self._asked_for_more, self._missed = now, more, 0
