"""ST-LAS's intrusiveness against slowdown that is measured on one core of this machine.

    python -m tools.papers.stlas_intrusion --csv intrusion.csv --plot intrusion.png

A task that takes a share u of a core (a burst of work about every 20 ms) runs alone, and then beside a job that
takes a share r. Its slowdown is how much longer its bursts take in the mean. The two take turns, so that what
else runs here disturbs both alike; leave the core idle all the same. Bursts have no common rhythm.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from flowedge.runtime.controller.admission import intrusiveness
from tools.papers.files import write_csv

PERIOD = 0.020  # seconds
SHARES = (0.2, 0.4, 0.6, 0.8)
THRESHOLDS = (0.6, 0.8)
HEAD = ("used", "wanted", *(f"intrusiveness at {threshold:g}" for threshold in THRESHOLDS), "slowdown")
Row = tuple[float, float, float, float, float]


def main() -> None:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)), help="(default %(default)s)")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each of --turns (default %(default)s)")
    parser.add_argument("--turns", type=int, default=2, help="(default %(default)s)")
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    print("".join(f"{name:>24}" for name in HEAD))
    rows = []
    for used in SHARES:
        for wanted in SHARES:
            rows.append(measured(options.core, used, wanted, options.seconds, options.turns))
            print("".join(f"{value:24.2f}" for value in rows[-1]), flush=True)
    for position, threshold in enumerate(THRESHOLDS):
        print(
            f"rank correlation of slowdown with intrusiveness at {threshold:g}: {ranks(rows, 2 + position):.2f}"
        )
    print(
        f"with the load u + r alone: {ranks([(*row[:2], row[0] + row[1], 0.0, row[4]) for row in rows], 2):.2f}"
    )
    if options.csv:
        write_csv(options.csv, [HEAD, *rows])
    if options.plot:
        _plot(rows, options.plot)


def measured(core: int, used: float, wanted: float, seconds: float, turns: int) -> Row:
    """How intrusive a job of share `wanted` is for a task of share `used`, and how much it slows it down."""
    alone, beside = [], []
    for _ in range(turns):
        alone += bursts(core, (used,), seconds)
        beside += bursts(core, (used, wanted), seconds)
    scores = (intrusiveness((used,), (wanted,), (threshold,)) for threshold in THRESHOLDS)
    return (used, wanted, *scores, float(np.mean(beside) / np.mean(alone)))


def bursts(core: int, shares: tuple[float, ...], seconds: float) -> list[float]:
    """Seconds that each burst of the first of some tasks took, all of them on one core."""
    context = multiprocessing.get_context("fork")
    pipes = [context.Pipe(duplex=False) for _ in shares]
    tasks = [
        context.Process(target=_task, args=(core, share, seconds, number, pipe[1]))
        for number, (share, pipe) in enumerate(zip(shares, pipes, strict=True))
    ]
    for task in tasks:
        task.start()
    took: list[list[float]] = [pipe[0].recv() for pipe in pipes]
    for task in tasks:
        task.join()
    return took[0]


def _task(core: int, share: float, seconds: float, seed: int, answer: Connection) -> None:
    os.sched_setaffinity(0, {core})
    rng = random.Random(seed)
    took = []
    due = time.perf_counter() + rng.random() * PERIOD
    end = due + seconds
    while due < end:
        time.sleep(max(0.0, due - time.perf_counter()))
        stop = time.thread_time() + share * PERIOD
        while time.thread_time() < stop:
            pass
        took.append(time.perf_counter() - due)
        # A burst that is late delays the next: queues must not grow without bound at a load above 1.
        due = max(due + PERIOD * rng.uniform(0.8, 1.2), time.perf_counter())
    answer.send(took)


def ranks(rows: list[Row], column: int) -> float:
    """Spearman's rank correlation of a column with the slowdown."""
    from scipy.stats import spearmanr

    return float(spearmanr([row[column] for row in rows], [row[-1] for row in rows]).statistic)


def _plot(rows: list[Row], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    panel: Any = figure.subplots()
    for used in SHARES:
        points = [(row[2], row[-1]) for row in rows if row[0] == used]
        panel.plot(*zip(*points, strict=True), "o-", label=f"the task uses {100 * used:g} % of the core")
    panel.set(
        xlabel=f"intrusiveness of the job (threshold {THRESHOLDS[0]:g})",
        ylabel="slowdown of the task, times",
        title="Intrusiveness against slowdown measured on one core",
    )
    panel.legend(fontsize="small")
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
