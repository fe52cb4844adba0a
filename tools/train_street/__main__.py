"""Render streets, train on them, and write the network; see the package.

python -m tools.train_street --output flowedge/inference/weights/street.onnx
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

from .report import ProgressReport, print_quality
from .tiles import render
from .training import PROCESSES, Recipe, train

FIRST_SEED = 1_000_000
"""Of the streets to train on; those below are held out."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("flowedge/inference/weights/street.onnx"))
    parser.add_argument("--streets", type=int, default=1000, help="streets to train on (%(default)s)")
    parser.add_argument("--steps", type=int, default=4000, help="steps of training (%(default)s)")
    parser.add_argument(
        "--seed", type=int, default=0, help="of the network and the order of tiles (%(default)s)"
    )
    options = parser.parse_args()
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="train_street") as folder:
        seeds = range(FIRST_SEED, FIRST_SEED + options.streets)
        file = Path(folder, "tiles.npy")
        objects = render(seeds, file, PROCESSES)
        print(f"{len(objects)} tiles after {time.perf_counter() - started:.0f} s", flush=True)
        recipe = Recipe(options.steps, seed=options.seed)
        train(file, objects, recipe, ProgressReport(options.output, streets=9), every=500)
    print_quality(options.output, streets=180)
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    processor = sum(usage.ru_utime + usage.ru_stime for usage in used)
    print(
        f"{time.perf_counter() - started:.0f} s, {processor:.0f} s of processor, "
        f"{options.output.stat().st_size / 1e6:.2f} MB"
    )


if __name__ == "__main__":
    main()
