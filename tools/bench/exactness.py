"""The default strategy against `exact` on random problems that have a plan (`tools.planner_instances`).

First every problem is planned by `flowedge`, one after the other, and timed. Then `exact` is given the same
problem, with that plan to begin from, so that it is never worse; what it still finds better is what `flowedge`
missed. Where `exact` does not prove its optimum either, the gap to its bound is in the table as well.

    python -m tools.bench.exactness --count 200 --limit 10 --csv exactness.csv
"""

from __future__ import annotations

import argparse
import csv
import multiprocessing
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from flowedge.planner.exact.exact import exact
from flowedge.planner.model.checker import violations
from flowedge.planner.model.plan import Plan
from flowedge.planner.solver.solve import flowedge
from tools.planner_instances import instance

Floats: TypeAlias = NDArray[np.float64]

PROCESSES = 2
_PROVEN = 1e-4  # a gap that counts as none


@dataclass(frozen=True, slots=True)
class ExactnessRow:
    """One problem: `missed` is by what share `exact` is better, `gap` what each says to its own bound."""

    seed: int
    stages: int
    nodes: int
    minimize: str
    solved: bool
    cpu: float
    wall: float
    value: float
    gap: float
    exact: float
    exact_gap: float
    missed: float


def planned(seed: int, *, shared: bool = True) -> tuple[Plan, float, float]:
    """The plan of a problem, and the seconds of this process and of the clock that it took."""
    problem, _ = instance(seed, shared=shared)
    wall, cpu = time.perf_counter(), time.process_time()
    plan = flowedge(problem)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    if wrong := violations(problem, plan):
        raise RuntimeError(f"problem {seed}: {wrong[0]}")
    return plan, cpu, wall


def compared(task: tuple[int, Plan, float, float, float, bool]) -> ExactnessRow:
    """A row, with what `exact` finds in about `limit` seconds."""
    seed, plan, cpu, wall, limit, shared = task
    problem, _ = instance(seed, shared=shared)
    best = exact(problem, plan if plan.found else None, time_limit=limit)
    nan = float("nan")
    missed = (plan.value - best.value) / max(abs(best.value), 1e-9) if plan.found and best.found else nan
    return ExactnessRow(
        seed,
        len(problem.applications[0].stages),
        len(problem.cluster.nodes),
        problem.minimize,
        plan.found,
        cpu,
        wall,
        plan.value,
        nan if plan.gap is None else plan.gap,
        best.value,
        nan if best.gap is None else best.gap,
        missed,
    )


def summary(rows: Sequence[ExactnessRow]) -> list[str]:
    """What there is to say about all problems."""
    missed = np.array([row.missed for row in rows if row.missed == row.missed])
    proven = np.array([row.missed for row in rows if row.exact_gap <= _PROVEN])
    gaps = np.array([row.gap for row in rows if row.gap == row.gap])
    wall, cpu = (np.array([getattr(row, name) for row in rows]) for name in ("wall", "cpu"))
    worst = sorted(rows, key=lambda row: -np.nan_to_num(row.missed))[:5]
    above = " and ".join(f"{np.sum(missed > share)} by more than {share:.0%}" for share in (0.01, 0.03))
    return [
        f"{sum(row.solved for row in rows)} of {len(rows)} solved",
        f"wall s: {_spread(wall)}; below 1 s: {np.mean(wall < 1):.1%}; processor s: {_spread(cpu)}",
        f"exact is better by: {_percent(missed)}; {above}",
        f"where exact proves its optimum ({len(proven)}): {_percent(proven)}",
        f"gap that flowedge prints: {_percent(gaps)}",
        "worst: " + ", ".join(f"seed {row.seed} {row.missed:.2%} (prints {row.gap:.1%})" for row in worst),
    ]


def _spread(values: Floats) -> str:
    return f"median {np.median(values):.2f}, p95 {np.quantile(values, 0.95):.2f}, most {values.max():.2f}"


def _percent(values: Floats) -> str:
    return f"median {np.median(values):.3%}, p95 {np.quantile(values, 0.95):.2%}, most {values.max():.2%}"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--first", type=int, default=0, help="seed of the first problem")
    parser.add_argument("--limit", type=float, default=10.0, help="seconds for exact, about")
    parser.add_argument("--owned", action="store_true", help="idle power is paid whole, not by shares")
    parser.add_argument("--csv", type=Path)
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # a process each is what there is to use
    planned(options.first)  # so that no import is timed
    tasks = []
    for seed in range(options.first, options.first + options.count):
        tasks.append((seed, *planned(seed, shared=not options.owned), options.limit, not options.owned))
        print(f"\rplanned {len(tasks)}/{options.count} ", end="", file=sys.stderr)
    rows = []
    with multiprocessing.get_context("spawn").Pool(PROCESSES) as pool:
        for row in pool.imap(compared, tasks):
            rows.append(row)
            print(f"\rcompared {len(rows)}/{options.count} ", end="", file=sys.stderr)
    print(file=sys.stderr)
    print("\n".join(summary(rows)))
    if options.csv:
        with options.csv.open("w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(asdict(rows[0])))
            writer.writeheader()
            writer.writerows(map(asdict, rows))


if __name__ == "__main__":
    main()
