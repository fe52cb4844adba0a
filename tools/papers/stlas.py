"""ST-LAS against FIFO, shortest remaining time and fair share, and offloading by its Table 2.

    python -m tools.papers.stlas --data DATA --csv stlas.csv --plot stlas.png

Jobs: the 60-job trace of Tiresias on its cluster of 32 x 4 GPUs, which it does not fill, and on 4, 3 and 2 such
nodes; and mixes of short and long jobs by seed on 4 nodes. A preempted job pays a checkpoint of --checkpoint
seconds when it runs again. The demotion threshold is a quantile of attained services: of the trace itself, and
for the mixes of one that is not evaluated. SRTF knows how long each job takes. Differences are paired by seed,
with bootstrap intervals.

Offloading (`NAME_offload.csv` beside --csv): Table 2 has round trips to the cloud and on the premises. What the
cloud takes longer than the same model on the premises is taken to be its link, and is scaled; premises have
100 Mbit/s in the table, by assumption, and the payload of 192 kB is what scales. The device's own time is an
estimate: the CPU time on the premises times that of a Raspberry Pi 4 over it, for the one model both are known
for. Data is looked for under --data or FLOWEDGE_DATA.
"""

from __future__ import annotations

import argparse
import csv
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from flowedge.planner.admission import (
    FairShare,
    Fifo,
    LeastAttained,
    Policy,
    ShortestRemaining,
    Worker,
    intrusiveness,
    size,
    threshold_of,
)
from tools.papers.stlas_jobs import Outcome, Simulation, Spec, cluster, mix, tiresias, tiresias_cluster

GPUS = 4  # of a node
MIXES = ((0.05, 0.7), (0.05, 0.9), (0.2, 0.7), (0.2, 0.9))  # share of long jobs, load
JOBS = 150
TRAINING = 10_000  # seed
PAYLOAD = 192e3 * 8  # bits, of the paper
LAN = 100e6
LANS = (100e6, 10e6, 2e6)  # bit/s
WANS = (0.25, 1.0, 10.0, 50.0)  # times the paper's
PI4 = "rpi4"
HEAD = (
    "jobs",
    "policy",
    "mean s",
    "p95 s",
    "longest wait s",
    "starved %",
    "preemptions / job",
    "mean - ST-LAS s",
    "95 % from",
    "to",
)


@dataclass(frozen=True, slots=True)
class Score:
    """One run: completion times in seconds, the longest wait at a stretch, jobs that took over ten times as
    long as alone (%), and preemptions per job.
    """

    mean: float
    p95: float
    wait: float
    starved: float
    preemptions: float


def main() -> None:
    """Simulate, print, and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=os.environ.get("FLOWEDGE_DATA"), help="the data folder")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--checkpoint", type=float, default=10.0, help="seconds (default %(default)s)")
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    if not options.data:
        parser.error("--data FOLDER or FLOWEDGE_DATA must say where the data is")
    folder = Path(options.data) / "planner"
    scores: dict[str, dict[str, list[Score]]] = {}
    rows: list[tuple[Any, ...]] = []
    print(f"{'':34}" + "".join(f"{name:>18}" for name in HEAD[2:]))
    for name, workers, runs, policies in _scenarios(folder / "tiresias", options.seeds):
        scores[name] = {
            who: [score(Simulation(workers, policy, options.checkpoint).run(run)) for run in runs]
            for who, policy in policies.items()
        }
        for row in table(name, scores[name]):
            rows.append(row)
            print(f"{row[0]:18}{row[1]:16}" + "".join(f"{cell:>18}" for cell in row[2:]), flush=True)
    offloads = list(offloading(folder))
    print("\n" + "\n".join("  ".join(f"{cell!s:>12}" for cell in row) for row in offloads))
    if options.csv:
        _write(options.csv, [HEAD, *rows])
        _write(options.csv.with_name(f"{options.csv.stem}_offload.csv"), offloads)
    if options.plot:
        _plot(scores, options.plot)


def _scenarios(
    folder: Path, seeds: int
) -> Iterator[tuple[str, Sequence[Worker], list[list[Spec]], Mapping[str, Policy]]]:
    trace = tiresias(folder)
    for workers in (tiresias_cluster(folder), *(cluster(nodes, GPUS) for nodes in (4, 3, 2))):
        yield f"trace, {len(workers)} x {GPUS}", workers, [trace], _policies(trace, workers)
    workers = cluster(4, GPUS)
    for long, load in MIXES:
        runs = [mix(seed, JOBS, 4 * GPUS, load, long) for seed in range(seeds)]
        seen = mix(TRAINING, JOBS, 4 * GPUS, load, long)
        yield f"{100 * long:g} % long, {load:g}", workers, runs, _policies(seen, workers)


def _policies(seen: Sequence[Spec], workers: Sequence[Worker]) -> dict[str, Policy]:
    services = [size(spec.parts, workers) * spec.seconds for spec in seen]
    median, late = threshold_of(services, 0.5), threshold_of(services, 0.9)
    return {
        "FIFO": Fifo(),
        "FIFO, back-fill": Fifo(backfills=True),
        "SRTF": ShortestRemaining(),
        "fair share": FairShare(60.0),
        "ST-LAS": LeastAttained(median),
        "ST-LAS, q 0.9": LeastAttained(late),
        "no promotion": LeastAttained(median, float("inf")),
    }


def score(found: Sequence[Outcome]) -> Score:
    """The figures of one run."""
    times = np.array([each.completion for each in found])
    alone = np.array([each.spec.seconds for each in found])
    return Score(
        float(times.mean()),
        float(np.quantile(times, 0.95)),
        max(each.longest_wait for each in found),
        100 * float((times > 10 * alone).mean()),
        sum(each.preemptions for each in found) / len(found),
    )


def table(name: str, scores: Mapping[str, Sequence[Score]]) -> Iterator[tuple[Any, ...]]:
    """A row for each policy: means over the runs, and the paired difference of the mean to ST-LAS."""
    ours = np.array([each.mean for each in scores["ST-LAS"]])
    for who, runs in scores.items():
        means = np.array([each.mean for each in runs])
        interval = _rounded(*_interval(means - ours)) if len(runs) > 1 else ("", "")
        figures = [
            np.mean([getattr(each, part) for each in runs])
            for part in ("mean", "p95", "wait", "starved", "preemptions")
        ]
        yield (name, who, *_rounded(*figures, (means - ours).mean()), *interval)


def _rounded(*values: float) -> tuple[float, ...]:
    return tuple(round(float(value), 2) for value in values)


def _interval(differences: np.ndarray) -> tuple[float, float]:
    rng = np.random.default_rng(0)
    drawn = rng.choice(differences, (2000, len(differences))).mean(axis=1)
    return float(np.quantile(drawn, 0.025)), float(np.quantile(drawn, 0.975))


def offloading(folder: Path) -> Iterator[tuple[Any, ...]]:
    """A row for each model, sort of worker and pair of links: milliseconds by place, and where it goes.

    "if busy" is the choice when the worker on the premises is used to 90 % and the model, which would take 30 %
    more, is too intrusive for it.
    """
    yield "model", "worker", "LAN Mbit/s", "WAN x", "device ms", "premises ms", "cloud ms", "goes to", "if busy"
    with (folder / "offload_table2.csv").open() as file:
        table = list(csv.DictReader(file))
    base = next(float(row["cpu_onprem_ms"]) for row in table if row["model"] == "ssd_mobilenet_v2")
    slower = _pi(folder) / (base - 1e3 * PAYLOAD / LAN)
    busy = intrusiveness((0.9,), (0.3,), (0.8,)) > 1
    for row in table:
        sent = 1e3 * PAYLOAD / LAN
        work = {sort: float(row[f"{sort}_onprem_ms"]) - sent for sort in ("gpu", "cpu")}
        far = float(row["gpu_cloud_ms"]) - work["gpu"]  # of the link to the cloud, there and back
        for sort in ("gpu", "cpu"):
            for lan in LANS:
                for wan in WANS:
                    places = {
                        "device": work["cpu"] * slower,
                        "premises": work[sort] + 1e3 * PAYLOAD / lan,
                        "cloud": max(0.0, float(row[f"{sort}_cloud_ms"]) - far) + far / wan,
                    }
                    order = sorted(places, key=lambda place: places[place])
                    best, other = order[0], next(place for place in order if place != "premises")
                    cells = [round(each) for each in places.values()]
                    yield row["model"], sort, lan / 1e6, wan, *cells, best, other if busy else best


def _pi(folder: Path) -> float:
    """Milliseconds of SSD MobileNet V2 on a Raspberry Pi 4."""
    lines = (folder / "edge_accel_aallan.csv").read_text().splitlines()
    rows = csv.DictReader(line for line in lines if not line.startswith("#"))
    return next(float(row["mnv2_ms"]) for row in rows if row["board"] == PI4)


def _write(path: Path, rows: Sequence[Sequence[Any]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def _plot(scores: Mapping[str, Mapping[str, Sequence[Score]]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 6), layout="constrained")
    axes: Any = figure.subplots(2, 1, sharex=True)
    policies = list(next(iter(scores.values())))
    at = np.arange(len(scores))
    for panel, part, label in ((axes[0], "mean", "mean completion, s"), (axes[1], "wait", "longest wait, s")):
        for position, who in enumerate(policies):
            heights = [np.mean([getattr(each, part) for each in runs[who]]) for runs in scores.values()]
            panel.bar(at + 0.8 * position / len(policies), heights, 0.75 / len(policies), label=who)
        panel.set(ylabel=label, yscale="log", ylim=(10 if part == "wait" else 100, None))
    axes[1].set_xticks(at + 0.35, list(scores), fontsize="small")
    axes[0].legend(fontsize="x-small", ncols=4)
    figure.suptitle("Completion and starvation under admission policies")
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
