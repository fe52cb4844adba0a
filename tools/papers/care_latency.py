"""Measures what CARE calls an instance: how long one tile of a frame takes it, by tiles and cores.

    python -m tools.papers.care_latency --csv latency.csv

One instance is `Detect` and then `TrackTile` on one tile of a 1080p street with 150 objects, as in CARE's most
demanding setting. For each number of cores there is a process of its own that may use only these. Every tile
of every frame is timed by itself; `median` and `least` are seconds of the tile that takes longest by it.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from flowedge.operators import Detect, Slice, TrackTile
from tools.quality.sources import annotated

TILES = (1, 2, 4, 6)
STREET = "street://?people=112&vehicles=38&width=1920&height=1080&fps=10&seed=11"


@dataclass(frozen=True)
class Timed:
    """Seconds that the slowest tile of `tiles` takes an instance with so many cores, of `frames` frames."""

    tiles: int
    cores: int
    median: float
    least: float
    frames: int


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--model", default="yolo11n-640", help="the detector (default %(default)s)")
    parser.add_argument("--frames", type=int, default=12, help="of each setting (default %(default)s)")
    parser.add_argument("--cores", type=int, help=argparse.SUPPRESS)  # the inner process
    options = parser.parse_args()
    if options.cores:
        print(json.dumps([measured(tiles, options.model, options.frames) for tiles in TILES]))
        return
    rows = grid(options.model, options.frames)
    for row in rows:
        print(f"x={row.tiles} c={row.cores}  median {1e3 * row.median:.1f} ms  least {1e3 * row.least:.1f} ms")
    if options.csv:
        write(rows, options.csv)


def grid(model: str, frames: int) -> list[Timed]:
    """The whole grid, with every number of cores that this process may use."""
    able = sorted(os.sched_getaffinity(0))
    rows = []
    for cores in range(1, len(able) + 1):
        command = [sys.executable, "-m", __spec__.name, "--cores", str(cores), "--model", model]
        done = subprocess.run(
            ["taskset", "-c", ",".join(map(str, able[:cores])), *command, "--frames", str(frames)],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        times = json.loads(done.stdout)
        rows += [Timed(tiles, cores, *pair, frames) for tiles, pair in zip(TILES, times, strict=True)]
    return rows


def write(rows: list[Timed], path: Path) -> None:
    """As CSV, which `read` reads."""
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["tiles", "cores", "median_s", "least_s", "frames"])
        table.writerows(
            [row.tiles, row.cores, f"{row.median:.6f}", f"{row.least:.6f}", row.frames] for row in rows
        )


def read(path: Path) -> list[Timed]:
    """The rows of a CSV that `write` wrote."""
    with path.open(newline="") as file:
        return [
            Timed(
                int(row["tiles"]),
                int(row["cores"]),
                float(row["median_s"]),
                float(row["least_s"]),
                int(row["frames"]),
            )
            for row in csv.DictReader(file)
        ]


def measured(tiles: int, model: str, count: int) -> tuple[float, float]:
    """Median and least seconds of the slowest tile, on the cores that this process may use."""
    cut, detect, track = Slice(tiles, whole_frame=False), Detect(model, confidence=0.1), TrackTile()
    for each in (cut, detect, track):
        each.setup()
    times: list[list[float]] = [[] for _ in range(tiles)]
    for frame, _ in islice(annotated(STREET).frames(), count + 1):
        for tile, part in enumerate(cut.split(frame)):
            begun = time.perf_counter()
            track.process(detect.process(part))
            times[tile].append(time.perf_counter() - begun)
    # The first frame allocates and compiles.
    return max(statistics.median(each[1:]) for each in times), max(min(each[1:]) for each in times)


if __name__ == "__main__":
    main()
