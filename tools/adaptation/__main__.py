"""Adaptation of a running graph to its goal, beside the same graph in fixed settings.

    python -m tools.adaptation graphs/continuum.py latency=350ms --scenario cameras --output DIR

Live synthetic cameras change as the scenario says: `cameras` (4, 8, 4 of them), `busy` (another program keeps a
core), `people` (12, 60, 5 on the street). Every run has a process of its own. A row for every second goes to
DIR/SCENARIO.csv, a picture to DIR/SCENARIO.png; printed are, from `--settle` seconds after the start and every
event on, the share of seconds in which the goal was kept, F1 at IoU 0.5 against the truth of the streets, and
what was expected of every change beside what came.

`--costs` says whether adaptation begins knowing nothing ("new"), or with what an earlier run learnt ("kept").
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from flowedge.graph.loading import load
from flowedge.runtime.routes import settings
from tools.adaptation.results import draw, table, write_rows
from tools.adaptation.running import run_scenario, tell
from tools.adaptation.scenarios import SCENARIOS, Street


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("graph", help="a graph file with the parameters source, output and latency")
    parser.add_argument("given", nargs="*", metavar="NAME=VALUE")
    parser.add_argument("--scenario", choices=SCENARIOS, default="cameras")
    parser.add_argument("--seconds", type=float, default=90.0)
    parser.add_argument("--settle", type=float, default=5.0, help="seconds after an event that do not count")
    parser.add_argument("--fps", type=float, default=3.0, help="of every camera")
    parser.add_argument("--size", type=int, nargs=2, default=(1280, 720), metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--people", type=int, default=12, help="on the street at first")
    parser.add_argument("--costs", choices=("new", "kept", "both"), default="both")
    parser.add_argument("--only-adaptive", action="store_true", help="leave the fixed settings out")
    parser.add_argument("--output", type=Path, default=Path("."), help="the folder for rows and pictures")
    options = parser.parse_args()
    given = dict(word.split("=", 1) for word in options.given)
    street = Street(*options.size, options.fps, options.people)
    graph, _ = load(options.graph, {"source": street.address(0), "output": "{camera}.mp4", **given})
    runs = []
    with tempfile.TemporaryDirectory() as cache:
        common = (options.graph, given, options.scenario, options.seconds, street)
        if options.costs == "kept":
            _alone(run_scenario, *common[:2], "steady", 40.0, street, None, options.settle, cache)
        for _ in range(2 if options.costs == "both" else 1):
            runs.append(_alone(run_scenario, *common, None, options.settle, cache))
        for setting in () if options.only_adaptive else settings(graph):
            runs.append(_alone(run_scenario, *common, setting, options.settle, cache))
    if options.costs == "both":
        from dataclasses import replace

        runs[0] = replace(runs[0], name="adaptive, new")
    options.output.mkdir(parents=True, exist_ok=True)
    name = f"{Path(options.graph).stem}-{options.scenario}"
    write_rows(runs, options.output / f"{name}.csv")
    draw(
        runs,
        f"{Path(options.graph).name} {' '.join(options.given)}, {options.scenario}",
        options.output / f"{name}.png",
    )
    for line in table(runs, options.settle):
        print(line)


def _alone(call: Callable[..., Any], *words: Any) -> Any:
    """The result of a call in a process of its own."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context, initializer=tell) as child:
        return child.submit(call, *words).result()


if __name__ == "__main__":
    main()
