"""ST-LAS against FIFO, shortest remaining time and fair share, and offloading by its Table 2.

    python -m tools.papers.stlas --data DATA --csv stlas.csv --plot stlas.png
    python -m tools.papers.stlas --jobs JOBS.csv --workers 4x4       # a trace of your own

Jobs: the 60-job trace of Tiresias on its cluster of 32 x 4 GPUs, which it does not fill, and on 4, 3 and 2 such
nodes; and mixes of short and long jobs by seed on 4 nodes. A preempted job pays a checkpoint of --checkpoint
seconds when it runs again. ST-LAS demotes at a quantile of the services of the jobs that are done so far. This
quantile and the patience are those of the least mean completion on mixes of other seeds, searched anew at each
start without a look at the trace or the evaluated mixes. "median" has the quantile 0.5 and patience 8;
"no promotion" is ST-LAS without it. SRTF knows how long each job takes. Differences are paired by seed, with
bootstrap intervals. A trace of jobs has the columns that `flowedge/planner/FORMATS.md` says.

Offloading (`NAME_offload.csv` beside --csv, `NAME_offload.png` beside --plot): Table 2 has round trips to the
cloud and to the premises. How much longer a model takes in the cloud is counted as the time of the link to the
cloud and scaled with it. The link to the premises is assumed to have 100 Mbit/s in the table; the transmission
of the 192 kB payload is what scales with it. A device has both links, and neither goes through the other. Its
own time is an estimate: the CPU time on the premises times the ratio of a Raspberry Pi 4's to it, which is
known for one model. Data is looked for under --data or FLOWEDGE_DATA.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from flowedge.errors import ConfigError
from flowedge.runtime.controller.admission import (
    FairShare,
    Fifo,
    LeastAttained,
    Policy,
    ShortestRemaining,
    Worker,
    admissible,
    intrusiveness,
)
from tools.papers.files import add_data_option, data_folder, write_csv
from tools.papers.stlas_jobs import JobResult, Simulation, Spec, cluster, jobs, mix, tiresias_cluster

GPUS = 4  # of a node
MIXES = ((0.05, 0.7), (0.05, 0.9), (0.2, 0.7), (0.2, 0.9))  # share of long jobs, load
JOBS = 150
TRAINING = (10_000, 10_001, 10_002)  # seeds
QUANTILES = (0.5, 0.8, 0.9, 0.95, 0.98)
PATIENCES = (0.5, 1.0, 2.0, 4.0, 8.0)
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
    add_data_option(parser)
    parser.add_argument("--jobs", type=Path, help="a trace of jobs (CSV) instead of all others")
    parser.add_argument(
        "--workers", default="4x4", metavar="NODESxGPUS", help="for --jobs (default %(default)s)"
    )
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--checkpoint", type=float, default=10.0, help="seconds (default %(default)s)")
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    if options.jobs:
        try:
            scenarios = [own(options.jobs, options.workers)]
        except (OSError, ValueError) as error:
            parser.error(str(error))
    else:
        scenarios = list(_scenarios(data_folder(parser, options) / "planner" / "tiresias", options.seeds))
    best = tuned(options.checkpoint)
    print(f"tuned on other mixes: demotion at quantile {best[0]:g} of what was done, patience {best[1]:g}\n")
    scores: dict[str, dict[str, list[Score]]] = {}
    lines: list[tuple[Any, ...]] = [HEAD]
    print(f"{'':34}" + "".join(f"{name:>18}" for name in HEAD[2:]))
    for name, workers, runs in scenarios:
        scores[name] = {
            who: [score(Simulation(workers, policy, options.checkpoint, quantile).run(run)) for run in runs]
            for who, (policy, quantile) in policies(best).items()
        }
        for row in table(name, scores[name]):
            lines.append(row)
            print(f"{row[0]:18}{row[1]:16}" + "".join(f"{cell:>18}" for cell in row[2:]), flush=True)
    offloads = list(offloading(Path(options.data) / "planner")) if options.data else []
    print("\n" + "\n".join("  ".join(f"{cell!s:>12}" for cell in row) for row in offloads))
    if options.csv:
        write_csv(options.csv, lines)
        if offloads:
            write_csv(options.csv.with_name(f"{options.csv.stem}_offload.csv"), offloads)
    if options.plot:
        _plot(scores, options.plot)
        if offloads:
            _plot_offloads(offloads, options.plot.with_name(f"{options.plot.stem}_offload.png"))


Scenario = tuple[str, Sequence[Worker], list[list[Spec]]]
"""A name, the workers, and the jobs of each run."""


def _scenarios(folder: Path, seeds: int) -> Iterator[Scenario]:
    trace = jobs((folder / "60_job.csv").read_text())
    for workers in (tiresias_cluster(folder), *(cluster(nodes, GPUS) for nodes in (4, 3, 2))):
        yield f"trace, {len(workers)} x {GPUS}", workers, [trace]
    workers = cluster(4, GPUS)
    for long, load in MIXES:
        runs = [mix(seed, JOBS, 4 * GPUS, load, long) for seed in range(seeds)]
        yield f"{100 * long:g} % long, {load:g}", workers, runs


def own(path: Path, shape: str) -> Scenario:
    """A trace of jobs on NODESxGPUS. Raises `ValueError` or `OSError`."""
    nodes, _, gpus = shape.partition("x")
    if not (nodes.isdigit() and gpus.isdigit() and int(nodes) and int(gpus)):
        raise ValueError(f"--workers {shape}: write nodes x GPUs of each, e.g. 4x4")
    workers = cluster(int(nodes), int(gpus))
    try:
        specs = jobs(path.read_text())
    except ConfigError as error:
        raise ValueError(f"--jobs {path}: {error}") from error
    for spec in specs:
        if not admissible(spec.parts, workers):
            raise ValueError(
                f"--jobs {path}: job {spec.name} wants {len(spec.parts)} GPUs, {shape} has not as many"
            )
    return path.name, workers, [specs]


def policies(best: tuple[float, float]) -> dict[str, tuple[Policy, float | None]]:
    """Each policy, and the quantile of services at which its threshold is kept."""
    quantile, patience = best
    return {
        "FIFO": (Fifo(), None),
        "FIFO, back-fill": (Fifo(backfills=True), None),
        "SRTF": (ShortestRemaining(), None),
        "fair share": (FairShare(60.0), None),
        "ST-LAS": (LeastAttained(math.inf, patience), quantile),
        "ST-LAS, median": (LeastAttained(math.inf, 8.0), 0.5),
        "no promotion": (LeastAttained(math.inf, math.inf), quantile),
    }


def tuned(checkpoint: float) -> tuple[float, float]:
    """The quantile and patience of the least mean completion on the training mixes, in the geometric mean."""
    workers = cluster(4, GPUS)
    runs = [mix(seed, JOBS, 4 * GPUS, load, long) for long, load in MIXES for seed in TRAINING]

    def cost(pair: tuple[float, float]) -> float:
        policy = LeastAttained(math.inf, pair[1])
        means = [score(Simulation(workers, policy, checkpoint, pair[0]).run(run)).mean for run in runs]
        return float(np.log(means).sum())

    return min(itertools.product(QUANTILES, PATIENCES), key=cost)


def score(results: Sequence[JobResult]) -> Score:
    """The figures of one run."""
    times = np.array([result.completion for result in results])
    alone = np.array([result.spec.seconds for result in results])
    return Score(
        float(times.mean()),
        float(np.quantile(times, 0.95)),
        max(result.longest_wait for result in results),
        100 * float((times > 10 * alone).mean()),
        sum(result.preemptions for result in results) / len(results),
    )


def table(name: str, scores: Mapping[str, Sequence[Score]]) -> Iterator[tuple[Any, ...]]:
    """A row for each policy: means over the runs, and the paired difference of the mean to ST-LAS."""
    ours = np.array([run.mean for run in scores["ST-LAS"]])
    for who, runs in scores.items():
        means = np.array([run.mean for run in runs])
        interval = _rounded(*_interval(means - ours)) if len(runs) > 1 else ("", "")
        figures = [
            np.mean([getattr(run, part) for run in runs])
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
    """A row for each model, sort of worker and pair of links: milliseconds by place, and the place chosen.

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
                    cells = [round(milliseconds) for milliseconds in places.values()]
                    yield row["model"], sort, lan / 1e6, wan, *cells, best, other if busy else best


def _pi(folder: Path) -> float:
    """Milliseconds of SSD MobileNet V2 on a Raspberry Pi 4."""
    lines = (folder / "edge_accel_aallan.csv").read_text().splitlines()
    rows = csv.DictReader(line for line in lines if not line.startswith("#"))
    return next(float(row["mnv2_ms"]) for row in rows if row["board"] == PI4)


def _plot(scores: Mapping[str, Mapping[str, Sequence[Score]]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 9), layout="constrained")
    axes: Any = figure.subplots(3, 1, sharex=True)
    policies = list(next(iter(scores.values())))
    at = np.arange(len(scores))
    parts = (("mean", "mean completion, s", 100), ("p95", "95 % completed within, s", 100),
             ("wait", "longest wait at a stretch, s", 10))  # fmt: skip
    for panel, (part, label, least) in zip(axes, parts, strict=True):
        for position, who in enumerate(policies):
            heights = [np.mean([getattr(run, part) for run in runs[who]]) for runs in scores.values()]
            place = at + 0.8 * (position + 0.5) / len(policies) - 0.4
            panel.bar(place, heights, 0.75 / len(policies), label=who)
        panel.set(ylabel=label, yscale="log", ylim=(least, None))
        panel.grid(axis="y", alpha=0.3)
    axes[2].set_xticks(at, list(scores))
    axes[2].set_xlabel(
        "jobs: the Tiresias trace on nodes x GPUs; mixes on 4 x 4 by share of long jobs and load"
    )
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(policies))
    figure.suptitle("Jobs that share workers: completion and waiting under admission policies (less is better)")
    figure.savefig(path, dpi=120)


def _plot_offloads(rows: Sequence[Sequence[Any]], path: Path) -> None:
    """Where each model goes, by worker on the premises and links."""
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    places = {"device": "#bbbbbb", "premises": "#4daf4a", "cloud": "#377eb8"}
    models = list(dict.fromkeys(row[0] for row in rows[1:]))
    links = list(dict.fromkeys(row[2:4] for row in rows[1:]))
    figure = Figure(figsize=(13, 4.8), layout="constrained")
    axes: Any = figure.subplots(1, 2, sharey=True)
    for panel, sort in zip(axes, ("gpu", "cpu"), strict=True):
        cells = np.zeros((len(models), len(links)))
        for model, worker, lan, wan, *milliseconds, best, _ in rows[1:]:
            if worker == sort:
                at = models.index(model), links.index((lan, wan))
                cells[at] = list(places).index(best)
                panel.text(at[1], at[0], min(milliseconds), ha="center", va="center", fontsize="x-small")
        panel.imshow(cells, cmap=ListedColormap(list(places.values())), vmin=0, vmax=2, aspect="auto")
        panel.set_xticks(range(len(links)), [f"{lan:g}\nx {wan:g}" for lan, wan in links], fontsize="small")
        panel.set(
            title=f"worker with a {sort.upper()}",
            xlabel="link to the premises, Mbit/s; to the cloud, x the paper's",
        )
    axes[0].set_yticks(range(len(models)), models)
    handles = [Patch(color=colour, label=place) for place, colour in places.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    figure.suptitle("Where inference is quickest (ms), from Table 2")
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
