"""CARE's evaluation, run again: instances, cores and GPUs chosen for a latency and a quality, and their price.

    python -m tools.papers.care --data DATA --out care

- Quality: table (the paper's Table I, `planner/care_table1.csv` of the data folder, 150 objects at 1080p).
- Latency of an instance: measured on this machine's cores, a model for more of them, a table for the GPU; see
  `tools.papers.care_profile`. `--profile` takes what it wrote, `profile.toml`, instead of measuring again.
  The paper's CPU is slower than most today, so that 0.5 s took it several cores: `--slower 10` plays that.
  Slicing, reconstruction and the network are left out, as negligible, as the paper found.
- Energy of a frame beyond idle: a model. 3.75 W a busy vCPU (105 W of a Xeon Gold 5120 over its 28), and the
  watts of the GPU's table, for as long as the instance is busy.

Clusters are the paper's six servers with 28 vCPUs each, without a GPU, with one, and with one in each; 0.5
frames a second. A composite application is planned with one stage for each tile that there may be; those beyond
x cost nothing. `exact` may give every tile other cores and hardware, which CARE does not. Columns with `all`
are the exhaustive search without pruning. choices.csv has every strategy, and where each figure is from.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path

from flowedge.planner.exact.exact import exact
from flowedge.planner.model.checker import violations
from flowedge.planner.model.cluster import Cluster, Link, Node, Power
from flowedge.planner.model.plan import Plan
from flowedge.planner.model.prediction import predict
from flowedge.planner.model.problem import Application, CameraClass, Problem, Stage
from flowedge.planner.model.profiles import Accuracy, Profiles, Service, setting
from flowedge.planner.papers.care import care, care_exhaustive, care_literal, care_shared
from tools.papers import care_plots, care_profile
from tools.papers.care_profile import MOST_CORES, TILES, Instance
from tools.papers.care_rows import HEADER, StrategyRow
from tools.papers.files import add_data_option, data_folder, write_csv

FPS = 0.5
CORE_WATTS = 105 / 28
SERVERS = 6
GPUS = (0, 1, 6)
LATENCIES = (0.5, 0.05, 0.035, 0.025)  # the paper has the first
QUALITIES = (0.72, 0.79, 0.85, 0.88)
STRATEGIES: Mapping[str, Callable[[Problem], Plan]] = {
    "care": care,
    "care-shared": care_shared,
    "care-literal": care_literal,
    "care-exhaustive": care_exhaustive,
    "care-exhaustive all": lambda problem: care_exhaustive(problem, pruned=False),
    "care-exhaustive shared": lambda problem: care_exhaustive(problem, shared=True),
    "exact": lambda problem: exact(problem, time_limit=20),
}


def main() -> None:
    """Measure, plan, print, write and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_data_option(parser)
    parser.add_argument("--out", type=Path, default=Path("care"), help="folder to write (default %(default)s)")
    parser.add_argument("--profile", type=Path, help="the profile.toml of a run before")
    parser.add_argument("--frames", type=int, default=20, help="to measure on (default %(default)s)")
    parser.add_argument(
        "--slower", type=float, default=1.0, help="factor of the CPU's times, for a slower one (default 1)"
    )
    options = parser.parse_args()
    planner = data_folder(parser, options) / "planner"
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.profile or options.out / "profile.toml"
    if options.profile is None:
        care_profile.measured(options.frames, path)
    profiles = care_profile.read(path)
    gpu_seconds, gpu_watts = care_profile.orin(planner / "yolo_orin_nx_visdrone.csv")
    instances = [*care_profile.on_cpu(profiles, options.slower), *care_profile.on_gpu(profiles, gpu_seconds)]
    quality = care_profile.table1(planner / "care_table1.csv")
    _print_instances(instances)
    rows = list(chosen(instances, quality, gpu_watts))
    write_csv(options.out / "choices.csv", [HEADER, *(row.cells() for row in rows)])
    cells = (
        [instance.tiles, instance.cores, f"{instance.gpu:.4g}", f"{instance.seconds:.6f}", instance.source]
        for instance in instances
    )
    write_csv(options.out / "instances.csv", [["tiles", "cores", "gpu", "seconds", "source"], *cells])
    care_plots.draw(instances, rows, CORE_WATTS, gpu_watts, options.out / "care.png")


def composite(
    instances: Sequence[Instance],
    quality: Mapping[int, float],
    gpu_watts: float,
    goal: tuple[float, float],
    gpus: int,
) -> Problem:
    """The paper's application on its servers, of which `gpus` have one; `goal`: latency (seconds), quality."""
    latency, least = goal
    slots = [f"tile {number}" for number in range(1, max(TILES) + 1)]
    services = [
        Service(
            slot, "xeon", instance.cores, instance.seconds, instance.gpu,
            setting=setting(tiles=instance.tiles), source=instance.source,
        )
        for number, slot in enumerate(slots, 1) for instance in instances if number <= instance.tiles
    ]  # fmt: skip
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
        Node(f"server {number}", "edge", "xeon", 28, gpu=float(number <= gpus), power=power)
        for number in range(1, SERVERS + 1)
    ]
    cluster = Cluster(
        ("device", "edge"),
        (Node("camera", "device", "camera", 0), *servers),
        tuple(Link("camera", server.name, bandwidth=1e9) for server in servers),
    )
    accuracies = tuple(Accuracy(value, setting(tiles=tiles), "table I") for tiles, value in quality.items())
    return Problem(
        cluster,
        (Application("tracking", stages, (("tiles", TILES),), latency=latency, accuracy=least),),
        (CameraClass("camera", "tracking", "camera", FPS),),
        Profiles(tuple(services), accuracies=accuracies),
    )


def chosen(
    instances: Sequence[Instance], quality: Mapping[int, float], gpu_watts: float
) -> Iterator[StrategyRow]:
    """What every strategy chooses on every cluster for every latency and quality; prints the main ones."""
    print(
        f"\n{'GPUs  L s   Q':<18}{'care':<22}{'ms':>6}{'mJ':>7}{'tried':>7}   "
        f"{'exhaustive':<22}{'ms':>6}{'mJ':>7}{'tried':>7}{'all':>5}{'literal':>9}{'shared':>8}{'exact':>7}"
        "  (tried: deployments; last three: mJ)"
    )
    for gpus, latency, least in product(GPUS, LATENCIES, QUALITIES):
        problem = composite(instances, quality, gpu_watts, (latency, least), gpus)
        mine = {}
        for name, strategy in STRATEGIES.items():
            plan = strategy(problem)
            broken = violations(problem, plan)
            if broken:
                raise ArithmeticError(f"{name}: {broken[0]}")
            mine[name] = _row(problem, plan, (gpus, latency, least), name)
        yield from mine.values()
        ours, best = mine["care"], mine["care-exhaustive"]
        print(
            f"{gpus:>4}  {latency:<6g}{least:<6.2f}" + _columns(ours) + "   " + _columns(best)
            + f"{mine['care-exhaustive all'].tried:>5}{mine['care-literal'].milli:>9}"
            f"{mine['care-shared'].milli:>8}{mine['exact'].milli:>7}", flush=True,
        )  # fmt: skip


def _columns(row: StrategyRow) -> str:
    milliseconds = "-" if row.seconds is None else f"{1e3 * row.seconds:.0f}"
    return f"{row.chosen:<22}{milliseconds:>6}{row.milli:>7}{row.tried:>7}"


def _row(problem: Problem, plan: Plan, at: tuple[int, float, float], name: str) -> StrategyRow:
    if not plan.found:
        assert plan.reason is not None
        return StrategyRow(*at, name, "no plan", None, None, plan.tried, "; ".join(plan.reason.conflict))
    prediction = predict(problem, plan)
    active = [deployment.service for deployment in plan.deployments if deployment.service.cores]
    shape = " + ".join(
        f"c={cores:g} g={gpu:.2g}"
        for cores, gpu in sorted({(service.cores, service.gpu) for service in active})
    )
    return StrategyRow(
        *at,
        name,
        f"x={dict(plan.routes[0].setting)['tiles']} {shape}",
        prediction.latencies[0].total,
        prediction.watts / FPS,
        plan.tried,
        ", ".join(sorted({service.source for service in active})),
    )


def _print_instances(instances: Sequence[Instance]) -> None:
    """Latencies by tiles and cores, and what instances gain over one that takes the tiles in turns."""
    seconds = {(instance.tiles, instance.cores): instance for instance in instances if not instance.gpu}
    print("\nms of an instance by cores (* measured, else a model)")
    for tiles in TILES:
        row = (seconds[tiles, cores] for cores in range(1, MOST_CORES + 1))
        cells = (
            f"{1e3 * instance.seconds:.1f}{'*' if 'measured' in instance.source else ' '}" for instance in row
        )
        gpu = next(instance for instance in instances if instance.tiles == tiles and instance.gpu == 1)
        print(
            f"x={tiles}  " + "".join(f"{cell:>8}" for cell in cells) + f"   GPU {1e3 * gpu.seconds:.1f} (table)"
        )
    for tiles in TILES[1:]:
        alone = tiles * seconds[tiles, MOST_CORES].seconds
        together = seconds[tiles, MOST_CORES // tiles].seconds
        print(
            f"{tiles} tiles on {MOST_CORES} cores: {1e3 * alone:.0f} ms one after the other, "
            f"{1e3 * together:.0f} ms in {tiles} instances, {alone / together:.1f} times as fast"
        )


if __name__ == "__main__":
    main()
