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
from flowedge.planner.model.profiles import Setting
from flowedge.runtime.controller.adaptation import Cost, Situation, expected
from flowedge.runtime.controller.controller import NEARLY_ALL, by_frame
from flowedge.runtime.controller.learning import Learning
from flowedge.runtime.measuring import Window
from flowedge.runtime.routes import Configuration, settings
from flowedge.runtime.run import Run
from tools.adaptation.running import SWITCH_SECONDS, Usage, words
from tools.adaptation.scenarios import Load, Street

SETTLE_SECONDS = 3.0


@dataclass(frozen=True)
class Pair:
    """A setting under a load, expected while another one ran: seconds of latency and frames a second.

    `others` is how many cores other programs kept busy.
    """

    graph: str
    cameras: int
    before: str
    setting: str
    latency: float
    latency_expected: float
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
        with Run(graph) as run:
            costs = _learnt(run)
            load_ = Load(run, street)
            return [pair for count in loads for pair in _under(run, load_, count, street.fps, costs, seconds)]


def _learnt(run: Run) -> Mapping[Setting, Cost]:
    learning = Learning(run.graph, settings(run.graph), run.source_outlets, run.cameras)
    learning.start()
    try:
        while len(learning.costs) < len(settings(run.graph)):
            time.sleep(0.5)
        return learning.costs
    finally:
        learning.close()


def _under(
    run: Run, load_: Load, count: int, fps: float, costs: Mapping[Setting, Cost], seconds: float
) -> Iterator[Pair]:
    load_.cameras(count)
    order = sorted(costs, key=lambda setting: sum(costs[setting].work.values()))
    before: tuple[Setting, Situation] | None = None
    for setting in (*order, order[0]):
        run.routes.switch(Configuration(setting))
        time.sleep(SETTLE_SECONDS)
        measuring, usage = run.measuring(), Usage()
        time.sleep(seconds)
        window = measuring.window()
        latency = window.latency.quantile(NEARLY_ALL)
        if latency is None:
            before = None
            continue
        rates = {run.graph.name: [fps] * count}
        situation = Situation(setting, by_frame(run.graph, window), rates, latency)
        if before is not None:
            come = expected(before[1], costs, {setting: 1.0})
            yield Pair(
                run.graph.name, count, words(before[0]), words(setting), latency, come.latency,
                _delivered(window), count * fps / max(1.0, come.busy), usage.since()[1],
            )  # fmt: skip
        before = setting, situation


def _delivered(window: Window) -> float:
    return sum(rate.delivered for rate in window.cameras.values())


def compared(found: Sequence[Pair]) -> Iterator[str]:
    """The pairs as lines, and how far they are apart."""
    yield (
        f"{'graph':<11}{'cameras':>8}  {'before':<10}{'setting':<10}{'p95 ms':>8}{'expected':>9}{'fps':>7}"
        f"{'expected':>9}{'others':>8}"
    )
    for pair in found:
        yield (
            f"{pair.graph:<11}{pair.cameras:>8}  {pair.before:<10}{pair.setting:<10}{1e3 * pair.latency:>8.0f}"
            f"{1e3 * pair.latency_expected:>9.0f}{pair.throughput:>7.1f}{pair.throughput_expected:>9.1f}"
            f"{pair.others:>8.2f}"
        )
    yield _errors("latency", [pair.latency_expected / pair.latency - 1 for pair in found])
    yield _errors("throughput", [pair.throughput_expected / max(pair.throughput, 1e-9) - 1 for pair in found])


def _errors(what: str, errors: Sequence[float]) -> str:
    return (
        f"{what}: {len(errors)} pairs, median error {statistics.median(map(abs, errors)):.0%}, "
        f"worst {max(map(abs, errors)):.0%}, bias {statistics.median(errors):+.0%}"
    )
