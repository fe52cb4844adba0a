"""The default strategy at scale: seconds, memory and gap against the number of camera classes and nodes.

Sites are edge boxes with a few small machines' worth of cores, each with its own cameras; ten of them share a
fog server, and all fogs two or more clouds. Cameras run one of four applications, at 5, 10, 15 or 25 frames a
second, so that a class is (site, application, frame rate); equal cameras of a site are one class with a count.
The gap is that of the plan to its own bound, the optimum of the relaxation with fractional replicas.

    python -m tools.bench.planner --folder results         # all sizes: planner.csv, planner.png
    python -m tools.bench.planner --folder results --size 1000x100
"""

from __future__ import annotations

import argparse
import csv
import random
import resource
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from flowedge.planner.model.checker import violations
from flowedge.planner.model.cluster import Cluster, Link, Node, Power
from flowedge.planner.model.problem import Application, CameraClass, Problem, Stage
from flowedge.planner.model.profiles import Accuracy, OutputSize, Profiles, Service, setting
from flowedge.planner.solver.solve import flowedge

SIZES = "30x10:300", "100x20:1000", "300x50:3000", "1000x100:10000", "1000x300:10000", "3000x1000:10000"
_KINDS = {"box": 3.0, "server": 1.2, "xeon": 0.8}  # seconds for what takes one second elsewhere
_FPS = 5, 10, 15, 25


@dataclass(frozen=True, slots=True)
class PlannerRow:
    """One measurement; `cpu` are seconds of this process, `wall` of the clock, `memory` the peak in MiB."""

    classes: int
    nodes: int
    sites: int
    cameras: int
    cpu: float
    wall: float
    gap: float
    memory: float
    faults: int


def measure(folder: Path, sizes: Sequence[str] = SIZES, seed: int = 0) -> Iterator[str]:
    """A table line for each size "CLASSESxNODES:CAMERAS"; then `planner.csv` and `planner.png` in a folder."""
    heads = ("classes", 8), ("nodes", 6), ("sites", 6), ("cameras", 8), ("cpu s", 7), ("wall s", 7), ("gap", 7)
    yield " ".join(f"{head:>{width}}" for head, width in (*heads, ("MiB", 6)))
    rows = []
    for size in sizes:
        shape, _, cameras = size.partition(":")
        classes, nodes = map(int, shape.split("x"))
        row = measured(instance(classes, nodes, int(cameras or 10 * classes), seed))
        rows.append(row)
        yield (
            f"{row.classes:>8} {row.nodes:>6} {row.sites:>6} {row.cameras:>8} {row.cpu:>7.1f} {row.wall:>7.1f} "
            f"{row.gap:>7.2%} {row.memory:>6.0f}" + (f"  {row.faults} faults" if row.faults else "")
        )
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "planner.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(asdict(rows[0])))
        writer.writeheader()
        writer.writerows(map(asdict, rows))
    _plot(rows, folder / "planner.png")


def measured(problem: Problem) -> PlannerRow:
    """Plans once; raises `RuntimeError` where no plan is found."""
    wall, cpu = time.perf_counter(), time.process_time()
    plan = flowedge(problem)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    if plan.gap is None:
        raise RuntimeError(f"no plan: {plan.reason}")
    return PlannerRow(
        len(problem.classes),
        len(problem.cluster.nodes),
        len({camera_class.node for camera_class in problem.classes}),
        sum(camera_class.count for camera_class in problem.classes),
        cpu,
        wall,
        plan.gap,
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        len(violations(problem, plan)),
    )


def instance(classes: int, nodes: int, cameras: int, seed: int = 0) -> Problem:
    """A city of sites, as above; the same for the same seed. Small ones may have fewer classes."""
    rng = random.Random(seed)
    applications = tuple(_application(number) for number in range(4))
    clouds, fogs = max(2, nodes // 50), max(1, nodes // 11)
    sites = [f"site{number}" for number in range(nodes - clouds - fogs)]
    able = [(site, application.name, fps) for site in sites for application in applications for fps in _FPS]
    chosen = rng.sample(able, min(classes, len(able)))
    counts = [1] * len(chosen)
    for _ in range(cameras - len(chosen)):
        counts[rng.randrange(len(chosen))] += 1
    served = Counter(dict.fromkeys(sites, 0))
    for (site, _, _), count in zip(chosen, counts, strict=True):
        served[site] += count
    return Problem(
        _cluster(rng, clouds, fogs, served),
        applications,
        tuple(
            CameraClass(f"{site}/{name}/{fps}", name, site, fps, count)
            for (site, name, fps), count in zip(chosen, counts, strict=True)
        ),
        Profiles(tuple(_services(applications)), tuple(_outputs(applications)), tuple(_accuracies())),
        "energy",
    )


def _cluster(rng: random.Random, clouds: int, fogs: int, cameras: Counter[str]) -> Cluster:
    """Clouds, fogs and sites that are as large as their cameras suggest."""
    nodes, links = [], []
    mean = cameras.total() / fogs
    for number in range(clouds):
        cores = 24.0 * cameras.total() / clouds
        nodes.append(Node(f"cloud{number}", "cloud", "xeon", cores, power=Power(4.0 * cores, 4.0, shared=True)))
        if number:
            links.append(Link("cloud0", f"cloud{number}", 1e11, 0.012, 0.001))
    for number in range(fogs):
        cores = float(round(0.8 * mean))
        nodes.append(Node(f"fog{number}", "fog", "server", cores, power=Power(3.0 * cores, 4.0, shared=True)))
        links.append(Link(f"fog{number}", f"cloud{rng.randrange(clouds)}", 2.5e6 * mean, 0.015, 0.002))
    for number, (site, own) in enumerate(cameras.items()):
        cores = float(max(2, round(rng.uniform(0.2, 0.6) * own)))
        nodes.append(Node(site, "edge", "box", cores, power=Power(1.0 * cores, 1.0, shared=True)))
        bandwidth = rng.uniform(5e6, 1e7) * (own + 2)
        links.append(Link(site, f"fog{number % fogs}", bandwidth, 0.003, 0.0005))
    return Cluster(("edge", "fog", "cloud"), tuple(nodes), tuple(links))


def _application(number: int) -> Application:
    name = f"app{number}"
    chain = [Stage(f"{name}.video", source=True)]
    for step in ("decode", "detect", "crop", "classify")[: 2 + number % 3]:
        chain.append(Stage(f"{name}.{step}", (chain[-1].name,)))
    chain.append(Stage(f"{name}.track", (chain[2].name,), keyed=True))
    last = tuple(dict.fromkeys((chain[-1].name, chain[-2].name)))
    chain.append(Stage(f"{name}.report", last, keyed=True))
    latency = (0.12, 0.2, 0.35, 0.6)[number]
    return Application(name, tuple(chain), (("size", (320, 480, 640)),), latency=latency, accuracy=0.35)


def _services(applications: Iterable[Application]) -> Iterator[Service]:
    work = {"decode": 0.002, "detect": 0.02, "crop": 0.001, "classify": 0.008, "track": 0.0015}
    for application in applications:
        for stage in application.stages:
            own = work.get(stage.name.split(".")[1], 0.0)
            for kind, slowness in _KINDS.items() if own else ():
                for cores in (1, 2, 4):
                    for pixels in (320, 480, 640):
                        seconds = own * slowness * (0.15 + 0.85 / cores) * (pixels / 480) ** 1.5
                        deviation = 0.2 * seconds
                        chosen = setting(size=pixels)
                        yield Service(
                            stage.name,
                            kind,
                            cores,
                            seconds,
                            deviation=deviation,
                            setting=chosen,
                            source="model",
                        )


def _outputs(applications: Iterable[Application]) -> Iterator[OutputSize]:
    sizes = {"video": 2e4, "decode": 6e4, "detect": 4e2, "crop": 8e3, "classify": 5e2, "track": 5e2}
    for application in applications:
        for stage in application.stages:
            size = sizes.get(stage.name.split(".")[1])
            if size:
                yield OutputSize(stage.name, size, "jpeg", source="model")


def _accuracies() -> Iterator[Accuracy]:
    for pixels, value in ((320, 0.31), (480, 0.37), (640, 0.4)):
        yield Accuracy(value, setting(size=pixels), source="model")


def _plot(rows: Sequence[PlannerRow], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    ticks = range(len(rows))
    names = [f"{row.classes} classes\n{row.nodes} nodes" for row in rows]
    left.plot(ticks, [row.cpu for row in rows], "o-", label="processor time")
    left.plot(ticks, [row.wall for row in rows], "s--", label="wall time")
    left.set(yscale="log", ylabel="seconds")
    left.legend()
    right.plot(ticks, [100 * row.gap for row in rows], "o-")
    right.set(ylabel="gap to the bound (%)", ylim=(0, None))
    for axes in (left, right):
        axes.set_xticks(list(ticks), names, fontsize=6)
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("results"))
    parser.add_argument("--size", action="append", help="CLASSESxNODES or CLASSESxNODES:CAMERAS, several times")
    options = parser.parse_args()
    for line in measure(options.folder, options.size or SIZES):
        print(line, flush=True)


if __name__ == "__main__":
    main()
