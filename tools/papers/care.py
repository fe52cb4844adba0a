"""CARE's evaluation, run again: instances, cores and GPUs chosen for a latency and a quality, and their price.

    python -m tools.papers.care --data DATA --out care

Quality by tiles is the paper's Table I (`planner/care_table1.csv` of the data folder) at 150 objects, 1080p.
The latency of an instance on a CPU is measured on this machine for the cores that it has (see
`tools.papers.care_latency`; `--latency` takes its CSV instead of measuring), and for more cores it follows
Amdahl's law. On a GPU it is that of yolo11n at 640 pixels in `planner/yolo_orin_nx_visdrone.csv`, with its
power. The cluster is the paper's: six servers with 28 vCPUs and a GPU each; 0.5 frames a second. Energy is
that beyond idle: 3.75 W a busy vCPU (105 W of a Xeon Gold 5120 over its 28) and the GPU's from the table.

A composite application is planned with one stage for each tile that there may be; those beyond x cost nothing.
`exact` plans the same problem and may give every tile other cores and hardware, which CARE does not.
"""

from __future__ import annotations

import argparse
import csv
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from flowedge.planner.checker import violations
from flowedge.planner.cluster import Cluster, Link, Node, Power
from flowedge.planner.plan import Plan
from flowedge.planner.prediction import predict
from flowedge.planner.problem import Application, CameraClass, Problem, Stage
from flowedge.planner.profiles import Accuracy, Profiles, Service, setting
from flowedge.planner.strategies.care import care, care_exhaustive, care_literal
from flowedge.planner.strategies.exact import exact
from tools.papers import care_latency

TILES = (1, 2, 4, 6)
MOST_CORES = 12  # of an instance, as in the paper's Figure 4
SHARES = (1, 2, 3, 6)  # instances that may share a GPU
FPS = 0.5
CORE_WATTS = 105 / 28
LATENCIES = (0.5, 0.1, 0.05, 0.04, 0.03)
QUALITIES = (0.72, 0.79, 0.85, 0.88)
STRATEGIES = {
    "care": lambda problem: care(problem),
    "care, GPUs shared": lambda problem: care(problem, shared=True),
    "care-literal": lambda problem: care_literal(problem),
    "care-exhaustive": lambda problem: care_exhaustive(problem),
    "care-exhaustive, GPUs shared": lambda problem: care_exhaustive(problem, shared=True),
    "exact": lambda problem: exact(problem, time_limit=20),
}


@dataclass(frozen=True)
class Instance:
    """What one instance takes for its tile: seconds with so many cores, and a share of a GPU or none."""

    tiles: int
    cores: int
    gpu: float
    seconds: float
    source: str


@dataclass(frozen=True)
class Row:
    """What a strategy chose for a latency (seconds) and a quality (0..1)."""

    latency: float
    quality: float
    strategy: str
    chosen: str
    seconds: float | None
    joules: float | None
    tried: int
    source: str

    def cells(self) -> list[str]:
        """As a line of a table."""
        return [
            f"{self.latency:g}",
            f"{self.quality:.2f}",
            self.strategy,
            self.chosen,
            "-" if self.seconds is None else f"{1e3 * self.seconds:.1f}",
            "-" if self.joules is None else f"{1e3 * self.joules:.1f}",
            str(self.tried or "-"),
            self.source,
        ]


HEADER = ["L s", "Q", "strategy", "chosen", "ms", "mJ/frame", "tried", "latency from"]


def main() -> None:
    """Measure, plan, print, write and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("FLOWEDGE_DATA"), help="the data folder")
    parser.add_argument("--out", type=Path, default=Path("care"), help="folder to write (default %(default)s)")
    parser.add_argument(
        "--latency", type=Path, nargs="+", help="CSVs of tools.papers.care_latency; the least of all counts"
    )
    parser.add_argument("--servers", type=int, default=6, help="of the cluster (default %(default)s)")
    options = parser.parse_args()
    if options.data is None:
        parser.error("--data FOLDER (or FLOWEDGE_DATA) is needed")
    options.out.mkdir(parents=True, exist_ok=True)
    runs = [care_latency.read(path) for path in options.latency or ()] or [care_latency.grid("yolo11n-640", 12)]
    timed = [min(each, key=lambda timed: timed.least) for each in zip(*runs, strict=True)]
    care_latency.write(timed, options.out / "latency.csv")
    gpu_seconds, gpu_watts = orin(options.data / "planner" / "yolo_orin_nx_visdrone.csv")
    instances = [*on_cpu(timed), *on_gpu(gpu_seconds)]
    quality = table1(options.data / "planner" / "care_table1.csv")
    rows = []
    for row in chosen(instances, quality, gpu_watts, options.servers):
        rows.append(row)
        print(
            "  ".join(f"{cell:<{width}}" for cell, width in zip(row.cells(), _WIDTHS, strict=True)), flush=True
        )
    _write(options.out / "choices.csv", HEADER, [row.cells() for row in rows])
    _write(
        options.out / "instances.csv",
        ["tiles", "cores", "gpu", "seconds", "source"],
        [[each.tiles, each.cores, f"{each.gpu:.4g}", f"{each.seconds:.6f}", each.source] for each in instances],
    )
    _plot(instances, rows, options.out / "care.png")


_WIDTHS = (5, 5, 29, 26, 6, 8, 5, 0)


def table1(path: Path) -> dict[int, float]:
    """Quality (0..1) by tiles at 150 objects and 1080p."""
    with path.open(newline="") as file:
        row = next(row for row in csv.DictReader(file) if (row["obj"], row["res"]) == ("150", "1080p"))
    return {1: float(row["bench"]) / 100} | {tiles: float(row[f"x{tiles}"]) / 100 for tiles in TILES[1:]}


def orin(path: Path) -> tuple[float, float]:
    """Seconds of a tile and watts of yolo11n at 640 pixels."""
    with path.open(newline="") as file:
        lines = (line for line in file if not line.startswith("#"))
        row = next(row for row in csv.DictReader(lines) if (row["model"], row["input"]) == ("yolo11n", "640"))
    return float(row["p95_ms"]) / 1e3, float(row["power_w"])


def on_cpu(timed: Sequence[care_latency.Timed]) -> Iterator[Instance]:
    """Instances without GPU: as measured, and by Amdahl's law through one core and the most that were measured.

    The least time counts: what is above it is the work of others on the machine.
    """
    for tiles in TILES:
        known = {each.cores: each.least for each in timed if each.tiles == tiles}
        last = max(known)
        divided = max(0.0, known[1] - known[last]) / (1 - 1 / last) if last > 1 else 0.0
        for cores in range(1, MOST_CORES + 1):
            source = "measured" if cores in known else "model (Amdahl)"
            yield Instance(tiles, cores, 0.0, known.get(cores, known[1] - divided * (1 - 1 / cores)), source)


def on_gpu(seconds: float) -> Iterator[Instance]:
    """Instances with a GPU, and those that share one in turns."""
    for tiles in TILES:
        for sharing in SHARES:
            source = "table (Orin NX)" if sharing == 1 else "model (table / share)"
            yield Instance(tiles, 1, 1 / sharing, seconds * sharing, source)


def composite(
    instances: Sequence[Instance],
    quality: Mapping[int, float],
    gpu_watts: float,
    goal: tuple[float, float],
    count: int,
) -> Problem:
    """The paper's application on so many of its servers; the goal is a latency (seconds) and a quality."""
    latency, least = goal
    slots = [f"tile {number}" for number in range(1, max(TILES) + 1)]
    services = [
        Service(
            slot,
            "xeon",
            each.cores,
            each.seconds,
            each.gpu,
            setting=setting(tiles=each.tiles),
            source=each.source,
        )
        for number, slot in enumerate(slots, 1)
        for each in instances
        if number <= each.tiles
    ]
    services += [
        Service(slot, "xeon", 0, 1e-9, setting=setting(tiles=tiles), source="none needed")
        for tiles in TILES
        for slot in slots[tiles:]
    ]
    stages = (
        Stage("video", source=True),
        *(Stage(slot, ("video",), tier="edge") for slot in slots),
        Stage("Reconstruct", tuple(slots)),
    )
    power = Power(core=CORE_WATTS, gpu=gpu_watts)
    servers = [
        Node(f"server {number}", "edge", "xeon", 28, gpu=1, power=power) for number in range(1, count + 1)
    ]
    cluster = Cluster(
        ("device", "edge"),
        (Node("camera", "device", "camera", 0), *servers),
        tuple(Link("camera", server.name, bandwidth=1e9) for server in servers),
    )
    accuracies = tuple(Accuracy(value, setting(tiles=tiles), "table I") for tiles, value in quality.items())
    knobs = (("tiles", TILES),)
    return Problem(
        cluster,
        (Application("tracking", stages, knobs, latency=latency, accuracy=least),),
        (CameraClass("camera", "tracking", "camera", FPS),),
        Profiles(tuple(services), accuracies=accuracies),
    )


def chosen(
    instances: Sequence[Instance], quality: Mapping[int, float], gpu_watts: float, count: int
) -> Iterator[Row]:
    """What every strategy chooses for every latency and quality."""
    print("  ".join(f"{name:<{width}}" for name, width in zip(HEADER, _WIDTHS, strict=True)))
    for latency in LATENCIES:
        for least in QUALITIES:
            problem = composite(instances, quality, gpu_watts, (latency, least), count)
            for name, strategy in STRATEGIES.items():
                plan = strategy(problem)
                broken = violations(problem, plan)
                if broken:
                    raise ArithmeticError(f"{name}: {broken[0]}")
                yield _row(problem, plan, latency, least, name)


def _row(problem: Problem, plan: Plan, latency: float, least: float, name: str) -> Row:
    if not plan.found:
        assert plan.reason is not None
        return Row(
            latency, least, name, "no plan", None, None, plan.tried, "; ".join(plan.reason.conflict)[:70]
        )
    prediction = predict(problem, plan)
    active = [each.service for each in plan.deployments if each.service.cores]
    kinds = sorted({(each.cores, each.gpu) for each in active})
    shape = " + ".join(f"c={cores:g} g={gpu:.2g}" for cores, gpu in kinds)
    return Row(
        latency,
        least,
        name,
        f"x={dict(plan.routes[0].setting)['tiles']} {shape}",
        prediction.latencies[0].total,
        prediction.watts / FPS,
        plan.tried,
        ", ".join(sorted({each.source for each in active})),
    )


def _write(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(header)
        table.writerows(rows)


def _plot(instances: Sequence[Instance], rows: Sequence[Row], path: Path) -> None:
    """Latency by cores as in the paper's Figure 4a; energy and deployments tried by the latency wanted."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4), layout="constrained")
    latency, energy, tried = figure.subplots(1, 3)
    for tiles in TILES:
        mine = [each for each in instances if each.tiles == tiles and not each.gpu]
        latency.plot(
            [each.cores for each in mine], [1e3 * each.seconds for each in mine], "o-", label=f"x={tiles}"
        )
    gpu = next(each for each in instances if each.gpu == 1)
    latency.axhline(1e3 * gpu.seconds, ls="--", color="gray", label="GPU (Orin table)")
    latency.set(
        xlabel="cores of an instance", ylabel="latency, ms", title="1-2 cores measured, more modelled", ylim=0
    )
    for name in ("care", "care-exhaustive", "exact"):
        mine_rows = [row for row in rows if row.strategy == name and row.quality == QUALITIES[-1]]
        wanted = [1e3 * row.latency for row in mine_rows]
        energy.plot(wanted, [1e3 * row.joules if row.joules else None for row in mine_rows], "o-", label=name)
        if name != "exact":
            tried.plot(wanted, [row.tried for row in mine_rows], "o-", label=name)
    title = f"quality at least {QUALITIES[-1]:.0%}"
    energy.set(xlabel="latency wanted, ms", ylabel="energy of a frame, mJ", title=title, xscale="log", ylim=0)
    tried.set(xlabel="latency wanted, ms", ylabel="deployments tried", title=title, xscale="log", ylim=0)
    for axes in (energy, tried):
        axes.set_xticks([1e3 * each for each in LATENCIES], [f"{1e3 * each:g}" for each in LATENCIES])
        axes.minorticks_off()
    for axes in (latency, energy, tried):
        axes.legend(fontsize="small")
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
