"""When a running graph is planned anew: often enough to keep its goal, and not more often than that helps."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from flowedge.runtime.controller.adaptation import Situation

SETTLED_SECONDS = 4.0
"""How long a change is given to show what it does before the next: frames give way for as long because of those
that were slow while operators were set up (`flowedge.plane.deadline`)."""

HURRY_SECONDS = 2.0
"""As that, where the goal is missed by far: the first window still has the frames that waited while operators
were set up, which would have every change for more taken back."""

FAR = 1.5
"""A latency of so many times the goal is a miss by far, unless it is that of a single frame and the mean keeps
the goal: in a second of a few slow cameras the slowest frame is the one that counts."""


LOST = 0.05
"""The share of the frames whose loss counts as a miss: they gave way to those in time."""

MISSES = 2
"""How many windows in a row must miss the goal, but not by far, before there is a plan."""

LOOK_SECONDS = 3.0
"""How often it is asked whether more can be had, and how long the goal must have been kept before; how often
a plan is made while the goal is missed and no plan changes anything."""

PROBATION_SECONDS = 20.0
"""How long after a change for more a missed goal is taken for its failure."""

TOLERANCE = 0.15
"""The share of the latency goal that a plan leaves: what comes is seldom just what is expected."""

HEADROOM = 0.25
"""The share that a setting must leave where the present one keeps the goal."""

FIRST_PAUSE, LONGEST_PAUSE = 20.0, 640.0
"""How long more is not asked for again after that went wrong: the first time, and at most. It doubles."""

LESS = 0.75
"""The share of the frames a second with which it went wrong from which on that counts no longer."""


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
    """The share of the goal to leave in the plan that `reason` asked for, or for whatever else there is one."""
    more: bool = False
    """Whether it asked for more than what is in force, which keeps the goal."""
    urgent: bool = False
    """Whether it did so because the goal is missed."""
    _missed: int = 0
    _kept_since: float = math.inf
    _changed: float = -math.inf
    _looked: float = -math.inf
    _in_vain: float = -math.inf
    _more_since: float = math.inf
    _not_before: float = -math.inf
    _failed_at: float = math.inf
    _pause: float = FIRST_PAUSE
    _load: float = 0.0
    _cameras: dict[str, int] = field(default_factory=dict)

    def reason(self, now: float, situation: Situation) -> str | None:
        """Why to plan now, in a few words; None where there is no reason."""
        cameras = {name: len(rates) for name, rates in situation.rates.items()}
        before, self._cameras = self._cameras, cameras
        self._load = sum(map(sum, situation.rates.values()))
        self.headroom, self.more, self.urgent = HEADROOM, False, False
        if before and cameras != before:
            if sum(cameras.values()) > sum(before.values()):
                self.headroom = TOLERANCE
            self._more_since = math.inf  # what comes now is not the fault of what was changed
            self._kept_since = math.inf
            return f"{sum(cameras.values())} cameras instead of {sum(before.values())}"
        if missed := self._miss(situation):
            self.headroom = TOLERANCE
            self._missed, self._kept_since = self._missed + 1, math.inf
        else:
            self._missed, self._kept_since = 0, min(self._kept_since, now)
        self.urgent = self._must_change(now, situation)
        if self.urgent:
            self._note_failure(now)
            return missed
        if self._may_ask_for_more(now):
            self._looked = now
            self.more = True
            return "there may be room for more"
        return None

    def changed(self, now: float, *, more: bool) -> None:
        """The settings were changed; `more` if the new ones take more than those before."""
        self._changed, self._missed, self._kept_since = now, 0, math.inf
        self._more_since = now if more else math.inf

    def unchanged(self, now: float) -> None:
        """The plan that there was a reason for is what is in force."""
        if self.urgent:
            self._in_vain = now

    def _miss(self, situation: Situation) -> str:
        """How the goal is missed, in words."""
        if situation.latency > self.goal:
            return f"latency {1e3 * situation.latency:.0f} ms, above the goal of {1e3 * self.goal:.0f} ms"
        return f"{situation.lost:.0%} of the frames are lost" if situation.lost > LOST else ""

    def _must_change(self, now: float, situation: Situation) -> bool:
        if now - self._in_vain < LOOK_SECONDS:
            return False
        far = situation.latency > FAR * self.goal and (situation.mean or situation.latency) > self.goal
        if far and now - self._changed >= HURRY_SECONDS:
            return True
        return self._missed >= MISSES and now - self._changed >= SETTLED_SECONDS

    def _note_failure(self, now: float) -> None:
        if now - self._more_since <= PROBATION_SECONDS:
            self._not_before, self._failed_at = now + self._pause, self._load
            self._pause, self._more_since = min(2 * self._pause, LONGEST_PAUSE), math.inf

    def _may_ask_for_more(self, now: float) -> bool:
        if now - self._more_since > LONGEST_PAUSE / 4:
            self._pause = FIRST_PAUSE  # that went well
        tried = now < self._not_before and self._load > LESS * self._failed_at
        return not tried and now - max(self._kept_since, self._looked) >= LOOK_SECONDS
