"""ASET's comparison: static policies, the agent that switches between them, and those that decide per stream.

    python -m tools.papers.aset --seeds 10 --csv aset.csv --plot aset.png

Three topologies (tools/scenarios/aset-*.toml) at lambda = 40, 60 and 100 clients a minute and at a dynamic rate
(40, 100, 60, a third of the time each), simulated query by query after a minute's warm-up that ends as full as
a steady state is. ASET has the weights that come with FlowEdge, trained only at lambda = 60 and never on
co-dc-cloud. Every policy meets the same requests with the same luck (common random numbers); intervals are
paired bootstrap ones over the seeds (95 %, percentiles of 10 000 means), against the best policy that does not
see the future. That one is picked by its mean over the same seeds, which flatters it. Failed is late or lost.

Three rows do see the future: the best static policy of each seed; an oracle that switches every 10 s to the
static policy with the most successes within these 10 s, having tried them all; and an upper bound for any
dispatcher (`aset_bound`: a Lagrangian one with the prices of a linear programme, stream by stream).

Each policy has its own filter of workers first: ASET's constraints (1) to (4), which `dual-price` keeps by
itself. Then all have the same, so that a gain can be told from its filter's: `timely` (capacity left, and in
time behind the queries that wait now).
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import os
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from flowedge.dispatch import STATIC
from flowedge.simulate.scenario import Floats
from tools.papers.aset_runs import (
    BOUND,
    CLAIRVOYANT,
    FILTERS,
    ORACLE,
    OWN,
    RATES,
    TOPOLOGIES,
    Cell,
    PolicyRun,
    runs,
)
from tools.papers.files import write_csv

PROCESSES = 2
OURS = "dual-price"
RESAMPLES = 10_000


@dataclass(frozen=True)
class Line:
    """Means over the seeds, in per cent; `difference` to the best that does not see the future, with interval.

    `application` is the one that was worst in most seeds.
    """

    topology: str
    rate: str
    filter: str
    policy: str
    seeds: int
    success: float
    failed: float
    rejected: float
    application: str
    worst: float
    difference: float
    low: float
    high: float
    decision_us: float


def main() -> None:
    """Simulate, print, and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first", type=int, default=0, help="the first of the seeds")
    parser.add_argument("--seconds", type=float, default=60.0, help="simulated, after the warm-up")
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    if options.seeds < 1 or not options.seconds > 0:
        parser.error("--seeds must be at least 1 and --seconds above 0")
    seeds = range(options.first, options.first + options.seeds)
    cells = [
        Cell(topology, rate, seed, options.seconds)
        for seed, topology, rate in itertools.product(seeds, TOPOLOGIES, RATES)
    ]
    results = simulated(cells)
    lines = summary(results)
    _print(lines)
    print("\n" + "\n".join(verdicts(results)))
    if options.csv:
        write_csv(options.csv, [[field.name for field in fields(Line)], *map(astuple, lines)])
    if options.plot:
        _plot(lines, options.plot)


def simulated(cells: Sequence[Cell]) -> list[PolicyRun]:
    """All runs of some cells, in the order of the cells; progress on stderr."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # a process each is what there is to use
    begun, cell_runs = time.monotonic(), []
    with multiprocessing.get_context("spawn").Pool(PROCESSES) as pool:
        for number, of_cell in enumerate(pool.imap(runs, cells), 1):
            cell_runs.append(of_cell)
            remaining = (time.monotonic() - begun) / number * (len(cells) - number)
            print(f"\r{number}/{len(cells)} cells, {remaining / 60:.0f} min left ", end="", file=sys.stderr)
    print(file=sys.stderr)
    return [run for of_cell in cell_runs for run in of_cell]


def summary(results: Iterable[PolicyRun]) -> list[Line]:
    """Means and paired intervals, by topology, rate and filter, in the order in which they are met first."""
    return [line for group in _groups(results).values() for line in _lines(group)]


def _groups(results: Iterable[PolicyRun]) -> dict[tuple[str, str, str], dict[str, list[PolicyRun]]]:
    """Runs by topology, rate and filter, then by policy; each policy's by seed."""
    groups: dict[tuple[str, str, str], dict[str, list[PolicyRun]]] = {}
    for run in sorted(results, key=lambda run: run.seed):
        groups.setdefault((run.topology, run.rate, run.filter), {}).setdefault(run.policy, []).append(run)
    return groups


def _lines(group: dict[str, list[PolicyRun]]) -> list[Line]:
    successes = {name: np.array([run.success for run in policy_runs]) for name, policy_runs in group.items()}
    best = leader(successes)
    lines = []
    for name, policy_runs in group.items():
        first = policy_runs[0]
        low, high = interval(successes[name] - successes[best])
        success, failed, rejected, worst = (
            _percent([getattr(run, column) for run in policy_runs])
            for column in ("success", "failed", "rejected", "worst")
        )
        names = [run.application for run in policy_runs]
        lines.append(
            Line(
                topology=first.topology,
                rate=first.rate,
                filter=first.filter,
                policy=name,
                seeds=len(policy_runs),
                success=success,
                failed=failed,
                rejected=rejected,
                application=max(sorted(set(names)), key=names.count),
                worst=worst,
                difference=_percent(successes[name] - successes[best]),
                low=round(100 * low, 3),
                high=round(100 * high, 3),
                decision_us=round(1e6 * float(np.mean([run.decision for run in policy_runs])), 1),
            )
        )
    return lines


def leader(successes: dict[str, Floats]) -> str:
    """The best by mean of those that do not see the future."""
    return max((name for name in successes if name not in CLAIRVOYANT), key=lambda name: successes[name].mean())


def interval(differences: Floats) -> tuple[float, float]:
    """The bootstrap's 95 % interval of the mean of paired differences (by percentiles; always the same draws).

    >>> low, high = interval(np.array([1.0, 2.0, 3.0]))
    >>> 1.0 <= low < 2.0 < high <= 3.0
    True
    """
    count = len(differences)
    picked = np.random.default_rng(0).integers(0, count, (RESAMPLES, count))
    low, high = np.quantile(differences[picked].mean(1), [0.025, 0.975])
    return float(low), float(high)


def verdicts(results: Iterable[PolicyRun]) -> list[str]:
    """Where `OURS` stands against the best of the others that do not see the future."""
    lines = []
    for (topology, rate, kind), group in _groups(results).items():
        successes = {
            name: np.array([run.success for run in policy_runs]) for name, policy_runs in group.items()
        }
        ours = successes.pop(OURS)
        other = leader(successes)
        low, high = interval(ours - successes[other])
        word = "above" if low > 0 else "BELOW" if high < 0 else "level with"
        gain = 100 * (ours - successes[other]).mean()
        lines.append(
            f"{topology:12} {rate:8} {kind:11} {OURS} is {word} {other}: "
            f"{gain:+.2f} [{100 * low:+.2f}, {100 * high:+.2f}] points"
        )
    return lines


def _percent(shares: Sequence[float] | Floats) -> float:
    return round(100 * float(np.mean(shares)), 3)


def _print(lines: Sequence[Line]) -> None:
    """A table for each topology and rate, one filter beside the other."""
    by_key = {(line.topology, line.rate, line.filter, line.policy): line for line in lines}
    for topology, rate in dict.fromkeys((line.topology, line.rate) for line in lines):
        names = [
            line.policy for line in lines if (line.topology, line.rate, line.filter) == (topology, rate, OWN)
        ]
        print(f"\n{topology}, lambda {rate}; %, in brackets against the best that does not see the future")
        head = (
            f"{'':28}{'success':>8}{'against the best':>26}{'failed':>8}{'reject.':>8}  {'worst':30}{'us':>6}"
        )
        print(head + "".join(f"{'all ' + kind + ', against its best':>36}" for kind in FILTERS[1:]))
        for name in names:
            one = by_key[topology, rate, OWN, name]
            worst = f"{one.worst:.2f} {one.application}" if one.application else ""
            text = f"{name:28}{one.success:8.2f}{_against(one):>26}" + "".join(
                f"{value:8.2f}" if value == value else f"{'':8}" for value in (one.failed, one.rejected)
            )
            text += f"  {worst:30}" + (
                f"{one.decision_us:6.0f}" if one.decision_us == one.decision_us else " " * 6
            )
            others = [by_key.get((topology, rate, kind, name)) for kind in FILTERS[1:]]
            text += "".join(
                f"{other.success:10.2f}{_against(other):>26}" for other in others if other is not None
            )
            print(text.rstrip())


def _against(line: Line) -> str:
    return f"{line.difference:+.2f} [{line.low:+.2f}, {line.high:+.2f}]"


def _plot(lines: Sequence[Line], path: Path) -> None:
    """Success and the worst application's, by rate, under the policies' own filters."""
    from matplotlib.figure import Figure

    own = [line for line in lines if line.filter == OWN]
    shown = [OURS, "power-of-two", "aset", "random-switch", *CLAIRVOYANT]
    figure = Figure(figsize=(13, 7.5), layout="constrained")
    axes: Any = figure.subplots(2, len(TOPOLOGIES), sharex=True, squeeze=False)
    for column, topology in enumerate(TOPOLOGIES):
        for panel, what in zip(axes[:, column], ("success", "worst"), strict=True):
            for name in dict.fromkeys(line.policy for line in own):
                if name not in shown and name not in STATIC:
                    continue
                picked = [line for line in own if (line.topology, line.policy) == (topology, name)]
                values = [getattr(line, what) for line in picked]
                style: dict[str, Any] = {"marker": "o", "label": name}
                if name in STATIC:
                    style = {
                        "color": "0.8",
                        "zorder": 1,
                        "label": "static" if name == next(iter(STATIC)) else None,
                    }
                elif name in (ORACLE, BOUND):
                    style["linestyle"] = "--"
                panel.plot([line.rate for line in picked], values, **style)
            panel.set(title=topology if what == "success" else "worst application", ylabel="success, %")
        axes[1, column].set_xlabel("lambda, clients a minute")
    axes[0, 0].legend(fontsize="small")
    figure.suptitle(f"ASET's scenarios, means of {max(line.seeds for line in own)} seeds")
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
