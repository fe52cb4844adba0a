"""Keeps a running graph at its goal: looks, plans, and changes the settings of its operators.

Once a second it looks at what the last second was like (`Pace` says whether there is a reason to plan), lets
`flowedge.planner` choose the settings of the cameras (`adaptation`), from what `Learning` knows of them, and
has the run go by them (`flowedge.runtime.routes`). Where operators work is `Offloading`'s.
"""

from __future__ import annotations

import importlib
import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Self

from flowedge.errors import UserError
from flowedge.monitor.report import Decision
from flowedge.plane.clock import Clock
from flowedge.planner.model import units
from flowedge.planner.model.profiles import Setting
from flowedge.profiling.measure import cores_here
from flowedge.runtime.controller.adaptation import Cost, Proposal, Situation, proposal
from flowedge.runtime.controller.experience import Experience
from flowedge.runtime.controller.learning import Learning
from flowedge.runtime.controller.observation import Observation
from flowedge.runtime.controller.offloading import Offloading
from flowedge.runtime.controller.pace import SETTLED_SECONDS, Pace
from flowedge.runtime.controller.search import Search
from flowedge.runtime.measuring import Window, together
from flowedge.runtime.routes import Configuration, settings
from flowedge.runtime.run import Run

log = logging.getLogger("flowedge.plan")

TICK_SECONDS = 1.0
"""The length of the windows in which a run is judged."""

WINDOWS = 3
"""How many windows a plan is made from: one has few frames, and what is unusual in it asks for a plan."""

START_SECONDS = 5.0
"""How long models, encoders and the first rehearsal are given before what is measured means anything."""

EQUAL = 0.005
"""The difference in accuracy for which nothing is changed."""

TINY = 1e-9
"""Core-seconds a frame: less makes no difference."""

ROTATION_SECONDS = 10.0
"""How long a camera has a lesser setting than others before it is another one's turn."""

CONFIRMED = 2
"""How many times in a row more must be found possible before it is taken."""


class Controller:
    """Adapts a run that has begun until it is closed; use it as a context manager inside that of the run.

    Only live cameras are adapted: frames of files wait for nobody. `cores` is how many the run may use, by
    default all that the process may. `costs` are what settings are taken to cost until that has been measured.
    What was changed is noted in `run.decisions`.
    """

    def __init__(
        self,
        run: Run,
        *,
        cores: float | None = None,
        strategy: str = "flowedge",
        costs: Mapping[Setting, Cost] | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        goal = run.graph.goal.latency
        self._run = run
        self._cores = float(cores or cores_here())
        self._strategy = strategy
        self._clock = clock
        self._pace = Pace(units.seconds(goal, "Goal.latency") if goal else float("inf"))
        self._observation = Observation(run, self._pace.goal)
        self._live_cameras = self._observation.live_cameras
        self._learning = Learning(
            run.graph, settings(run.graph), run.source_outlets, self._live_cameras, costs=costs
        )
        self._offloading = Offloading(run, cores=int(cores) if cores else None)
        self._measuring = run.measuring()
        self._searching = Search(settings(run.graph), self._pace.goal)
        self._experience = Experience()
        self._left: Situation | None = None  # before a change of all cameras, until that is judged
        self._confirmed = 0
        self._refused: set[Setting] = set()  # those that could not be set up
        self._steady: Situation | None = None  # the last one that was measured since the last change
        self._default: Setting | None = None  # of cameras to come
        self._proposal: Proposal | None = None
        self._known = 0
        self._turn = 0
        self._turned = 0.0
        self._begun = clock()
        self._searching.changed(self._begun + START_SECONDS)
        self._pace.changed(self._begun + START_SECONDS - SETTLED_SECONDS, more=False)
        self._windows: deque[Window] = deque(maxlen=WINDOWS)  # since the last change
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="flowedge-controller", daemon=True)

    def __enter__(self) -> Self:
        self._learning.start()
        self._offloading.__enter__()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave the run as it is."""
        self._closed.set()
        self._learning.close()
        self._offloading.close()
        if self._thread.ident is not None:
            self._thread.join()

    def _watch(self) -> None:
        importlib.import_module("scipy.optimize")  # 0.7 s, which the first plan would take longer otherwise
        while not self._closed.wait(TICK_SECONDS):
            try:
                self.look(self._measuring.window())
            except UserError as error:
                if not self._run.stopping:
                    log.error("the settings stay as they are: %s", error)
            except Exception:
                log.exception("the settings stay as they are from now on")
                return

    def look(self, window: Window) -> None:
        """Judge the last window, and change the settings where there is a reason; not thread-safe."""
        self._observation.note(window)
        situation = self._observation.situation(window)
        if situation is None:
            return
        if not self._costs.keys() >= situation.mix.keys():
            self._search(situation)
            return
        news = self._news()
        reason = self._pace.reason(self._clock(), situation) or news
        steady = self._steady
        if steady is not None and _counted(steady.rates) != _counted(situation.rates):
            # The queue is that of neither load yet: reckon from what was measured before.
            situation = steady.with_load(situation.load)
            self._windows.clear()
            self._steady = self._left = None
        else:
            self._windows.append(window)
            situation = self._observation.situation(together(self._windows)) or situation
            self._steady = situation
            if self._left is not None and len(self._windows) == WINDOWS:
                if len(situation.mix) == 1:
                    self._experience.note(self._left, situation, self._learning.costs)
                self._left = None
        if reason is None:
            self._rotate()
        else:
            self._plan(reason, situation)

    def _search(self, situation: Situation) -> None:
        """Where the goal is missed and nothing is known yet, let the run show what another setting does."""
        wanted = self._searching.next(self._clock(), situation)
        if wanted is None:
            return
        begun = self._clock()
        self._switch(wanted)
        self._measuring.window()
        self._searching.changed(self._clock())
        cameras = sum(map(len, situation.rates.values()))
        self._note(
            Decision(
                begun - self._begun, "the goal is missed, and nothing is known yet", {_words(wanted): cameras},
                measured_latency=situation.latency, setup_seconds=self._clock() - begun,
            )
        )  # fmt: skip

    def _news(self) -> str | None:
        """That more settings have become known than when there was a plan last, if so."""
        if self._clock() - self._begun < START_SECONDS:
            return None
        before, self._known = self._known, len(self._costs)
        return f"{self._known} settings are known" if self._known > before else None

    @property
    def _costs(self) -> Mapping[Setting, Cost]:
        """What is known of the settings that can be had."""
        known = self._experience.corrected(self._learning.costs)
        return {setting: known[setting] for setting in known if setting not in self._refused}

    def _plan(self, reason: str, situation: Situation) -> None:
        costs, begun = self._costs, self._clock()
        wanted = proposal(
            self._run.graph, situation, costs,
            cores=self._cores, headroom=self._pace.headroom, strategy=self._strategy,
        )  # fmt: skip
        planned = self._clock()
        takes_more = _mean(_mix(wanted), costs, _work) > _mean(situation.mix, costs, _work) + TINY
        same = self._proposal is not None and wanted.cameras == self._proposal.cameras
        if same or (self._pace.urgent and takes_more):  # what misses the goal does not get better by more
            self._confirmed = 0
            self._pace.unchanged(planned)
            return
        if self._pace.more:
            better = _better(wanted, situation.mix, costs)  # else with less to spare, what is in force does it
            self._confirmed = self._confirmed + 1 if better else 0
            if self._confirmed < CONFIRMED:
                return
        self._confirmed = 0
        self._take_turns(wanted)
        done = self._clock()
        self._note(
            Decision(
                planned - self._begun, reason, _counts(wanted), measured_latency=situation.latency,
                expected_latency=wanted.latency, expected_accuracy=wanted.accuracy,
                expected_fps=wanted.served * sum(map(sum, situation.rates.values())), reached=wanted.reached,
                planning_seconds=planned - begun, setup_seconds=done - planned,
            )
        )  # fmt: skip
        self._measuring.window()  # what was measured meanwhile belongs to neither setting
        self._windows.clear()
        calm = self._pace.more  # else something else has changed too
        self._left = self._steady if calm and len(situation.mix) == 1 else None
        self._steady = None
        self._pace.changed(done, more=takes_more)

    def _rotate(self) -> None:
        """Where cameras differ in their settings, let others have the lesser one (CONTINUUM)."""
        mixed = self._proposal and any(len(shares) > 1 for shares in self._proposal.cameras.values())
        if mixed and self._clock() - self._turned >= ROTATION_SECONDS:
            assert self._proposal is not None
            self._turn += 1
            self._take_turns(self._proposal)

    def _take_turns(self, wanted: Proposal) -> None:
        """Give every camera the setting that it is its turn to have; raises what setting one up raises."""
        places, costs = dict.fromkeys(wanted.cameras, 0), self._costs
        chosen = [setting for shares in wanted.cameras.values() for setting, _ in shares]
        least = min(chosen, key=lambda setting: _work(costs[setting]))
        self._run.routes.keep([self._run.routes.of(camera) for _, camera in self._live_cameras()])
        if least != self._default:  # cameras that come must not bring more than there is room for
            self._switch(least)
            self._default = least
        for source, camera in self._live_cameras():
            application = self._observation.application(source)
            spread = [setting for setting, count in wanted.cameras.get(application, ()) for _ in range(count)]
            if spread:
                self._switch(spread[(places[application] + self._turn) % len(spread)], [camera])
                places[application] += 1
        self._proposal = wanted
        self._turned = self._clock()

    def _switch(self, setting: Setting, cameras: Collection[str] | None = None) -> None:
        """Let cameras go by a setting; one that cannot be set up is not planned with again."""
        with self._offloading.lock:
            try:
                self._run.routes.switch(Configuration(setting, self._offloading.workers), cameras)
            except Exception:
                self._refused.add(setting)
                raise

    def _note(self, decision: Decision) -> None:
        self._run.decisions.add(decision)
        log.info("%s", decision)


def _better(wanted: Proposal, mix: Mapping[Setting, float], costs: Mapping[Setting, Cost]) -> bool:
    """Whether a plan with room to spare is worth a change: it sees more, or as much for less work."""
    gain = _mean(_mix(wanted), costs, _accuracy) - _mean(mix, costs, _accuracy)
    saved = _mean(mix, costs, _work) - _mean(_mix(wanted), costs, _work)
    return wanted.reached and (gain > EQUAL or (gain > -EQUAL and saved > TINY))


def _mix(wanted: Proposal) -> Counter[Setting]:
    """How many cameras are to have each setting."""
    shares: Counter[Setting] = Counter()
    for counts in wanted.cameras.values():
        shares.update(dict(counts))
    return shares


def _mean(
    weights: Mapping[Setting, float], costs: Mapping[Setting, Cost], value: Callable[[Cost], float]
) -> float:
    """The mean of what costs say of the settings, with these weights."""
    total = sum(weights.values())
    return sum(value(costs[setting]) * weight for setting, weight in weights.items()) / total


def _counted(rates: Mapping[str, Sequence[float]]) -> dict[str, int]:
    return {name: len(every) for name, every in rates.items()}


def _accuracy(cost: Cost) -> float:
    return cost.accuracy or 0.0


def _work(cost: Cost) -> float:
    return sum(cost.work.values())


def _counts(wanted: Proposal) -> dict[str, int]:
    """How many cameras are to be in each setting, in words."""
    counts: dict[str, int] = {}
    for shares in wanted.cameras.values():
        for setting, count in shares:
            counts[_words(setting)] = counts.get(_words(setting), 0) + count
    return counts


def _words(setting: Setting) -> str:
    return " ".join(f"{name}={value}" for name, value in setting)
