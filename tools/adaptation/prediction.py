"""What is expected of a setting that does not run yet, beside what comes when it does."""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from flowedge.graph.loading import load
from flowedge.planner.model import units
from flowedge.planner.model.profiles import Setting
from flowedge.runtime.controller.adaptation import Cost, Situation, expected
from flowedge.runtime.controller.experience import Experience
from flowedge.runtime.controller.learning import Learning
from flowedge.runtime.controller.observation import Observation
from flowedge.runtime.measuring import Window, together
from flowedge.runtime.routes import Configuration, settings
from flowedge.runtime.run import Run
from tools.adaptation.running import SWITCH_SECONDS, Usage, words
from tools.adaptation.scenarios import Load, Street

SETTLE_SECONDS = 3.0


@dataclass(frozen=True)
class Pair:
    """A setting under a load, expected while another ran, or that under another load: seconds and frames/s.

    `others` is how many cores other programs kept busy.
    """

    graph: str
    cameras: int
    before: str
    setting: str
    latency: float
    latency_expected: float
    mean: float
    mean_expected: float
    throughput: float
    throughput_expected: float
    others: float


def pairs(
    path: str, given: Mapping[str, str], loads: Sequence[int], street: Street, seconds: float
) -> list[Pair]:
    """Deploy every setting of a graph file under every load, one after the other."""
    sys.setswitchinterval(SWITCH_SECONDS)
    with tempfile.TemporaryDirectory() as folder:
        output = {"output": str(Path(folder) / "{camera}.mp4")}
        graph, _ = load(path, {"source": street.address(0), **output, **given})
        goal = units.seconds(graph.goal.latency, "Goal.latency") if graph.goal.latency else float("inf")
        with Run(graph) as run:
            costs = _learnt(run)
            return list(_Deployed(run, goal, street, seconds).pairs(loads, costs))


def _learnt(run: Run) -> Mapping[Setting, Cost]:
    learning = Learning(run.graph, settings(run.graph), run.source_outlets, run.cameras)
    learning.start()
    try:
        while len(learning.costs) < len(settings(run.graph)):
            time.sleep(0.5)
        return learning.costs
    finally:
        learning.close()


class _Deployed:
    """A run that is deployed in one setting after the other, under one load after the other."""

    def __init__(self, run: Run, goal: float, street: Street, seconds: float) -> None:
        self._run = run
        self._load = Load(run, street)
        self._observation = Observation(run, goal)
        self._experience = Experience()
        self._seconds = round(seconds)

    def pairs(self, loads: Sequence[int], costs: Mapping[Setting, Cost]) -> Iterator[Pair]:
        """Each setting, expected from the one before it; the first of a load, from the load before it."""
        order = sorted(costs, key=lambda setting: sum(costs[setting].work.values()))
        before: Situation | None = None
        for count in loads:
            self._load.cameras(count)
            for setting in (*order, order[0]):
                self._run.routes.switch(Configuration(setting))
                time.sleep(SETTLE_SECONDS)
                usage = Usage()
                now, throughput = self._measured()
                if now is not None and before is not None:
                    known = self._experience.corrected(costs)
                    come = expected(before.with_load(now.load), known, {setting: 1.0})
                    asked = sum(map(sum, now.rates.values()))
                    yield Pair(
                        self._run.graph.name, count, _named(before), words(setting), now.latency, come.latency,
                        now.mean, come.mean,
                        throughput, come.delivered * asked, usage.since()[1],
                    )  # fmt: skip
                    if count == len(next(iter(before.rates.values()))):
                        self._experience.note(before, now, costs)
                before = now

    def _measured(self) -> tuple[Situation | None, float]:
        measuring, windows = self._run.measuring(), []
        for _ in range(self._seconds):
            time.sleep(1.0)
            windows.append(measuring.window())
            self._observation.note(windows[-1])
        window = together(windows)
        return self._observation.situation(window), _delivered(window)


def _named(situation: Situation) -> str:
    """The setting and the load, in words."""
    return f"{words(situation.setting)} x {sum(map(len, situation.rates.values()))}"


def _delivered(window: Window) -> float:
    return sum(rate.delivered for rate in window.cameras.values())


def compared(found: Sequence[Pair]) -> Iterator[str]:
    """The pairs as lines, and how far they are apart."""
    yield (
        f"{'graph':<11}{'cameras':>8}  {'before':<14}{'setting':<10}{'p95 ms':>8}{'expected':>9}"
        f"{'mean ms':>9}{'expected':>9}{'fps':>7}"
        f"{'expected':>9}{'others':>8}"
    )
    for pair in found:
        yield (
            f"{pair.graph:<11}{pair.cameras:>8}  {pair.before:<14}{pair.setting:<10}{1e3 * pair.latency:>8.0f}"
            f"{1e3 * pair.latency_expected:>9.0f}{1e3 * pair.mean:>9.0f}{1e3 * pair.mean_expected:>9.0f}"
            f"{pair.throughput:>7.1f}{pair.throughput_expected:>9.1f}"
            f"{pair.others:>8.2f}"
        )
    yield _errors("mean latency", [pair.mean_expected / pair.mean - 1 for pair in found])
    yield _errors("p95 of latency", [pair.latency_expected / pair.latency - 1 for pair in found])
    yield _errors("throughput", [pair.throughput_expected / max(pair.throughput, 1e-9) - 1 for pair in found])


def _errors(what: str, errors: Sequence[float]) -> str:
    return (
        f"{what}: {len(errors)} pairs, median error {statistics.median(map(abs, errors)):.0%}, "
        f"worst {max(map(abs, errors)):.0%}, bias {statistics.median(errors):+.0%}"
    )
