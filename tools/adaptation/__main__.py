"""Adaptation of a running graph to its goal, beside the same graph in fixed settings.

    python -m tools.adaptation graphs/continuum.py latency=350ms --scenario cameras --output DIR

Live synthetic cameras change as the scenario says: `cameras` (4, 8, 4 of them, or as `--cameras` says), `busy`
(another program keeps a core), `people` (12, 60, 5 on the street). Every run has a process of its own. A row
for every second goes to DIR/SCENARIO.csv, a picture to DIR/SCENARIO.png; printed are, from `--settle` seconds
after the start and every event on, the share of seconds in which the goal was kept, F1 at IoU 0.5 against the
truth of the streets, and what was expected of every change beside what came. "F1 all" is of all frames, also
those that were lost: for them what was found last stands.

`--costs` says whether adaptation begins knowing nothing ("new"), or with what an earlier run learnt ("kept").

`--predict 1 2 4` deploys instead every setting under so many cameras, and says what was expected of each while
the one before it ran, beside what came (`--seconds` of it each).
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from flowedge.graph.loading import load
from flowedge.planner.model.profiles import Setting
from flowedge.runtime.routes import settings
from tools.adaptation.prediction import compared, pairs
from tools.adaptation.results import draw, table, write_rows
from tools.adaptation.running import Result, run_scenario, tell
from tools.adaptation.scenarios import SCENARIOS, Street

LEARNING_SECONDS = 25.0
"""How long a run before the others learns where `--costs kept` is given."""


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
    parser.add_argument("--cameras", type=int, default=4, help="at first")
    parser.add_argument("--costs", choices=("new", "kept", "both"), default="both")
    parser.add_argument("--only-adaptive", action="store_true", help="leave the fixed settings out")
    parser.add_argument("--output", type=Path, default=Path("."), help="the folder for rows and pictures")
    parser.add_argument(
        "--predict", type=int, nargs="+", metavar="CAMERAS", help="compare expected and measured"
    )
    options = parser.parse_args()
    given = dict(word.split("=", 1) for word in options.given)
    street = Street(options.size[0], options.size[1], options.fps, options.people, options.cameras)
    if options.predict:
        for line in compared(_alone(pairs, options.graph, given, options.predict, street, options.seconds)):
            print(line)
        return
    runs = _runs(options, given, street)
    options.output.mkdir(parents=True, exist_ok=True)
    name = f"{Path(options.graph).stem}-{options.scenario}"
    write_rows(runs, options.output / f"{name}.csv")
    title = f"{Path(options.graph).name} {' '.join(options.given)}, {options.scenario}"
    draw(runs, title, options.output / f"{name}.png")
    for line in table(runs, options.settle):
        print(line)


def _runs(options: argparse.Namespace, given: Mapping[str, str], street: Street) -> list[Result]:
    """The graph adapted, once or twice, and in every setting."""
    graph, _ = load(options.graph, {"source": street.address(0), "output": "{camera}.mp4", **given})

    def run(
        setting: Setting | None, scenario: str = options.scenario, seconds: float = options.seconds
    ) -> Result:
        words = (options.graph, given, scenario, seconds, street, setting, options.settle, cache)
        result: Result = _alone(run_scenario, *words)
        return result

    with tempfile.TemporaryDirectory() as cache:
        runs = []
        if options.costs != "kept":
            runs.append(replace(run(None), name="adaptive, new"))
        else:
            run(None, "steady", LEARNING_SECONDS)
        if options.costs != "new":
            runs.append(run(None))
        return runs + [run(setting) for setting in settings(graph) if not options.only_adaptive]


def _alone(call: Callable[..., Any], *words: Any) -> Any:
    """The result of a call in a process of its own."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context, initializer=tell) as child:
        return child.submit(call, *words).result()


if __name__ == "__main__":
    main()
