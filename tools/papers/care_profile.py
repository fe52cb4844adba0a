"""What an instance of CARE takes, by tiles, cores and GPU: measured, from a table, or by a model.

On a CPU: `flowedge profile tools/papers/care_instance.py` on this machine, for every tile; an instance takes as
long as the slowest of its tiles. For more cores than this machine has: the service-time model that `flowedge
profile` fits (Amdahl's law). On a GPU: detection as in `planner/yolo_orin_nx_visdrone.csv` (yolo11n at 640
pixels, the 95th percentile of its time, and watts), tracking as measured on one core.
"""

from __future__ import annotations

import csv
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from flowedge.cli.profile import profile
from flowedge.planner.files.inputs import profiles
from flowedge.planner.model.profiles import Profiles, setting
from flowedge.profiling.models import Timed, fit_service

TILES = (1, 2, 4, 6)
MOST_CORES = 12  # of an instance, as in the paper's Figure 4
SHARES = (1, 2, 3, 6)  # instances that may share a GPU
STAGES = ("Tile", "Detect", "TrackTile")
GRAPH = Path(__file__).with_name("care_instance.py")


@dataclass(frozen=True)
class Instance:
    """What one instance takes for its tile: seconds with so many cores, and a share of a GPU or none."""

    tiles: int
    cores: int
    gpu: float
    seconds: float
    source: str


def measured(frames: int, output: Path) -> None:
    """Run `flowedge profile` on the instance, for every tile and number of cores of this machine."""
    from flowedge.profiling.measure import cores_here

    parts = ",".join(f"{number}/{tiles}" for tiles in TILES for number in range(1, tiles + 1))
    cores = ",".join(map(str, range(1, cores_here() + 1)))
    profile(str(GRAPH), output=output, kind="cpu", frames=frames, cores=cores, knob=[f"part={parts}"])


def read(path: Path) -> Profiles:
    """The profiles that `measured` wrote."""
    return profiles(tomllib.loads(path.read_text()))


def table1(path: Path) -> dict[int, float]:
    """Quality (0..1) by tiles at 150 objects and 1080p, from the paper's Table I."""
    with path.open(newline="") as file:
        row = next(row for row in csv.DictReader(file) if (row["obj"], row["res"]) == ("150", "1080p"))
    return {1: float(row["bench"]) / 100} | {tiles: float(row[f"x{tiles}"]) / 100 for tiles in TILES[1:]}


def orin(path: Path) -> tuple[float, float]:
    """Seconds of a tile and watts of yolo11n at 640 pixels on the GPU."""
    with path.open(newline="") as file:
        lines = (line for line in file if not line.startswith("#"))
        row = next(row for row in csv.DictReader(lines) if (row["model"], row["input"]) == ("yolo11n", "640"))
    return float(row["p95_ms"]) / 1e3, float(row["power_w"])


def on_cpu(profiles: Profiles, slower: float = 1.0) -> Iterator[Instance]:
    """Instances without GPU: as measured, and by the fitted model for more cores; all times `slower`."""
    source = "measured" if slower == 1 else f"model (measured x {slower:g})"
    for tiles in TILES:
        times = {cores: slower * seconds for cores, seconds in _slowest(profiles, tiles, STAGES).items()}
        model = fit_service([Timed(cores, 0, seconds) for cores, seconds in times.items()])
        for cores in range(1, MOST_CORES + 1):
            if cores in times:
                yield Instance(tiles, cores, 0.0, times[cores], source)
            else:
                yield Instance(tiles, cores, 0.0, model(cores, 0), "model (Amdahl)")


def on_gpu(profiles: Profiles, seconds: float) -> Iterator[Instance]:
    """Instances with a core and a GPU, and those that share one in turns."""
    for tiles in TILES:
        tracking = _slowest(profiles, tiles, ("Tile", "TrackTile"))[1]
        for sharing in SHARES:
            source = "table (Orin NX)" if sharing == 1 else "model (table / share)"
            yield Instance(tiles, 1, 1 / sharing, seconds * sharing + tracking, source)


def _slowest(profiles: Profiles, tiles: int, stages: tuple[str, ...]) -> Mapping[int, float]:
    """Seconds of the slowest tile by cores; a stage that `flowedge profile` counts as free takes none."""
    slowest: dict[int, float] = {}
    for number in range(1, tiles + 1):
        chosen = setting(part=f"{number}/{tiles}")
        for cores in sorted({int(service.cores) for service in profiles.services}):
            seconds = sum(
                service.seconds
                for stage in stages
                for service in profiles.services_of(stage, chosen)
                if service.cores == cores
            )
            slowest[cores] = max(slowest.get(cores, 0.0), seconds)
    return slowest
