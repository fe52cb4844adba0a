"""Keeps a running graph at its goal: looks, plans, and changes the settings of its operators.

Once a second it looks at what the last second was like (`Pace` says whether there is a reason to plan), lets
`flowedge.planner` choose the settings of the cameras (`adaptation`), from what `Learning` knows of them, and
has the run go by them (`flowedge.runtime.routes`). Where operators work is `Offloading`'s.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Self

from flowedge.errors import UserError
from flowedge.graph.contract import Gather, Split
from flowedge.graph.graph import Graph
from flowedge.monitor.report import Decision
from flowedge.plane.clock import Clock
from flowedge.planner.model import units
from flowedge.planner.model.profiles import Setting
from flowedge.profiling.measure import cores_here
from flowedge.runtime.controller.adaptation import Cost, Proposal, Situation, proposal
from flowedge.runtime.controller.learning import Learning
from flowedge.runtime.controller.offloading import Offloading
from flowedge.runtime.controller.pace import Pace
from flowedge.runtime.controller.search import Search
from flowedge.runtime.measuring import Window, together
from flowedge.runtime.routes import Configuration, settings
from flowedge.runtime.run import Run

log = logging.getLogger("flowedge.plan")

TICK_SECONDS = 1.0
"""The length of the windows in which a run is judged."""

WINDOWS = 3
"""How many windows a plan is made from: one has few frames, and what is unusual in it asks for a plan."""

RATE_WEIGHT = 0.5
"""Of the last window in the frames a second of a camera."""

START_SECONDS = 5.0
"""How long models, encoders and the first rehearsal are given before a missed goal means anything."""

EQUAL = 0.005
"""The difference in accuracy for which nothing is changed."""

ROTATION_SECONDS = 10.0
"""How long a camera has a lesser setting than others before it is another one's turn."""

NEARLY_ALL = 0.95
"""The share of the frames of a window whose latency is compared with the goal."""


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
        self._learning = Learning(
            run.graph, settings(run.graph), run.source_outlets, self._live_cameras, costs=costs
        )
        self._offloading = Offloading(run, cores=int(cores) if cores else None)
        self._measuring = run.measuring()
        self._searching = Search(settings(run.graph), self._pace.goal)
        self._rates: dict[str, float] = {}
        self._steady: Situation | None = None  # the last one that was measured since the last change
        self._default: Setting | None = None  # of cameras to come
        self._proposal: Proposal | None = None
        self._known = 0
        self._turn = 0
        self._turned = 0.0
        self._begun = clock()
        self._searching.changed(self._begun + START_SECONDS)
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
        self._note_rates(window)
        situation = self._situation(window)
        if situation is None:
            return
        if not self._learning.costs.keys() >= situation.mix.keys():
            self._search(situation)
            return
        news = self._news()
        reason = self._pace.reason(self._clock(), situation) or news
        steady = self._steady
        if steady is not None and _counted(steady.rates) != _counted(situation.rates):
            # The queue is that of neither load yet: reckon from what was measured before.
            situation = replace(steady, rates=situation.rates, measured_rates=steady.rates)
            self._windows.clear()
            self._steady = None
        else:
            self._windows.append(window)
            situation = self._situation(together(self._windows)) or situation
            self._steady = situation
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
        with self._offloading.lock:
            self._run.routes.switch(Configuration(wanted, self._offloading.workers))
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
        before, self._known = self._known, len(self._learning.costs)
        return f"{self._known} settings are known" if self._known > before else None

    def _plan(self, reason: str, situation: Situation) -> None:
        costs, begun = self._learning.costs, self._clock()
        wanted = proposal(
            self._run.graph, situation, costs,
            cores=self._cores, headroom=self._pace.headroom, strategy=self._strategy,
        )  # fmt: skip
        planned = self._clock()
        if self._proposal is not None and wanted.cameras == self._proposal.cameras:
            return
        if self._pace.more and not _better(wanted, situation.mix, costs):
            return  # with less to spare, what is in force keeps the goal
        self._proposal = wanted
        self._take_turns()
        done = self._clock()
        self._note(
            Decision(
                planned - self._begun, reason, _counts(wanted), measured_latency=situation.latency,
                expected_latency=wanted.latency, expected_accuracy=wanted.accuracy, reached=wanted.reached,
                planning_seconds=planned - begun, setup_seconds=done - planned,
            )
        )  # fmt: skip
        before = max(_work(costs[setting]) for setting in situation.mix)
        after = max(_work(costs[setting]) for shares in wanted.cameras.values() for setting, _ in shares)
        self._measuring.window()  # what was measured meanwhile belongs to neither setting
        self._windows.clear()
        self._steady = None
        self._pace.changed(done, more=after > before)

    def _situation(self, window: Window) -> Situation | None:
        """What the window says of the live cameras; None while it says too little."""
        cameras = self._live_cameras()
        rates: dict[str, list[float]] = {}
        for application, camera in cameras:
            if rate := self._rates.get(camera):
                rates.setdefault(self._application(application), []).append(rate)
        latency = window.latency.quantile(NEARLY_ALL)
        if latency is None or not rates:
            return None
        used = Counter(self._run.routes.of(camera).setting for _, camera in cameras)
        mix = {setting: count / used.total() for setting, count in used.items()}
        return Situation(used.most_common(1)[0][0], by_frame(self._run.graph, window), rates, latency, mix)

    def _note_rates(self, window: Window) -> None:
        """Frames a second of every camera, over some windows: in one, a slow camera may give none at all."""
        for camera, rate in window.cameras.items():
            before = self._rates.get(camera, rate.produced)
            self._rates[camera] = before + RATE_WEIGHT * (rate.produced - before)

    def _application(self, source: str) -> str:
        """The planner's name for what begins at a source."""
        graph = self._run.graph
        return graph.name if len(graph.sources()) == 1 else f"{graph.name}.{source}"

    def _live_cameras(self) -> list[tuple[str, str]]:
        """Pairs of a source and a live camera that runs."""
        return [pair for pair in self._run.cameras() if self._run.is_live(pair[1])]

    def _rotate(self) -> None:
        """Where cameras differ in their settings, let others have the lesser one (CONTINUUM)."""
        mixed = self._proposal and any(len(shares) > 1 for shares in self._proposal.cameras.values())
        if mixed and self._clock() - self._turned >= ROTATION_SECONDS:
            self._turn += 1
            self._take_turns()

    def _take_turns(self) -> None:
        """Give every camera the setting that it is its turn to have."""
        assert self._proposal is not None
        routes, places = self._run.routes, dict.fromkeys(self._proposal.cameras, 0)
        costs = self._learning.costs
        chosen = [setting for shares in self._proposal.cameras.values() for setting, _ in shares]
        least = min(chosen, key=lambda setting: _work(costs[setting]))
        if least != self._default:  # cameras that come must not bring more than there is room for
            with self._offloading.lock:
                routes.switch(Configuration(least, self._offloading.workers))
            self._default = least
        for source, camera in self._live_cameras():
            application = self._application(source)
            spread = [
                setting for setting, count in self._proposal.cameras.get(application, ()) for _ in range(count)
            ]
            if spread:
                setting = spread[(places[application] + self._turn) % len(spread)]
                places[application] += 1
                with self._offloading.lock:
                    routes.switch(Configuration(setting, self._offloading.workers), [camera])
        self._turned = self._clock()

    def _note(self, decision: Decision) -> None:
        self._run.decisions.add(decision)
        log.info("%s", decision)


def _better(wanted: Proposal, mix: Mapping[Setting, float], costs: Mapping[Setting, Cost]) -> bool:
    """Whether a plan with room to spare is worth a change: it sees more, or as much for less work."""
    shares: Counter[Setting] = Counter()
    for counts in wanted.cameras.values():
        shares.update(dict(counts))

    def mean(weights: Mapping[Setting, float], value: Callable[[Cost], float]) -> float:
        total = sum(weights.values())
        return sum(value(costs[setting]) * weight / total for setting, weight in weights.items())

    gain = mean(shares, _accuracy) - mean(mix, _accuracy)
    saved = mean(mix, _work) - mean(shares, _work)
    return wanted.reached and (gain > EQUAL or (gain > -EQUAL and saved > 0))


def _counted(rates: Mapping[str, Sequence[float]]) -> dict[str, int]:
    return {name: len(every) for name, every in rates.items()}


def _accuracy(cost: Cost) -> float:
    return cost.accuracy or 0.0


def _work(cost: Cost) -> float:
    return sum(cost.work.values())


def by_frame(graph: Graph, window: Window) -> dict[str, float]:
    """Mean seconds a frame by operator, also where it sees every tile of a frame by itself."""
    seconds = dict(window.service)
    splits: dict[str, str] = {}  # the split that cut what a step sees
    for node in graph.nodes:
        if isinstance(node.step, Split):
            splits[node.name] = node.name
        elif not isinstance(node.step, Gather):
            for split in {splits[name] for name in node.feeders if name in splits}:
                splits[node.name] = split
                if node.name in seconds and split in window.rates:
                    seconds[node.name] *= window.rates[node.name] / window.rates[split]
    return seconds


def _counts(wanted: Proposal) -> dict[str, int]:
    """How many cameras are to be in each setting, in words."""
    counts: dict[str, int] = {}
    for shares in wanted.cameras.values():
        for setting, count in shares:
            counts[_words(setting)] = counts.get(_words(setting), 0) + count
    return counts


def _words(setting: Setting) -> str:
    return " ".join(f"{name}={value}" for name, value in setting)
