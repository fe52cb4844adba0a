"""Operators bound by Python's global lock: one process, workers, what is decided by itself, and peers."""

from __future__ import annotations

import importlib.util
import json
import statistics
import subprocess
from collections import defaultdict
from collections.abc import Iterator

from tools.bench.burning import loops_of
from tools.bench.pairs import python
from tools.bench.transports import dora_command

SECONDS = 0.01
"""Of each of the three operators."""

CONTENDERS = {
    "one": "flowedge in one process",
    "workers-1": "flowedge, all three on one worker",
    "workers-2": "flowedge, all three on two workers",
    "itself": "flowedge as it decides itself",
    "pipeline": "by hand: three processes and queues",
    "pool": "by hand: a pool of two processes",
    "dora": "dora-rs: three nodes",
}


def measure(frames: int, rounds: int) -> Iterator[str]:
    """Medians and ranges over the rounds, in which all take turns, and of the ratios to one process."""
    present = dict(CONTENDERS)
    if importlib.util.find_spec("dora") is None or not dora_command():
        yield "dora-rs: skipped, it is not installed: pip install dora-rs dora-rs-cli"
        del present["dora"]
    loops = loops_of(SECONDS)
    runs: dict[str, list[dict[str, float]]] = defaultdict(list)
    for _ in range(rounds):
        for how in present:
            runs[how].append(_run(how, loops, frames))
    alone = [run["frames"] / run["seconds"] for run in runs["one"]]
    for how, name in present.items():
        rates = [run["frames"] / run["seconds"] for run in runs[how]]
        ratios = [rate / first for rate, first in zip(rates, alone, strict=True)]
        work = [1e3 * run["cpu_seconds"] / run["frames"] for run in runs[how]]
        yield (
            f"{name}: {_spread(rates)} frames/s, {_spread(ratios)} times one process, "
            f"{_spread(work)} ms of processor a frame"
        )
    for size in ("", "-small"):
        pairs = [[_run(f"hop-{place}{size}", 0, 150) for place in ("here", "worker")] for _ in range(rounds)]
        more = [worker["p50"] - here["p50"] for here, worker in pairs]
        work = [
            1e3 * (worker["cpu_seconds"] / worker["frames"] - here["cpu_seconds"] / here["frames"])
            for here, worker in pairs
        ]
        what = "a small picture" if size else "a picture of 1080p"
        yield f"{what} to a worker and back: median {_spread(more)} ms more, {_spread(work)} ms of processor"
    yield f"it decided after {_spread([run['decided_after'] for run in runs['itself']])} s"


def _run(how: str, loops: int, frames: int) -> dict[str, float]:
    command = python("-m", "tools.bench.python_bound_ends", how, str(loops), str(frames))
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):.3g} ({min(values):.3g}..{max(values):.3g})"
