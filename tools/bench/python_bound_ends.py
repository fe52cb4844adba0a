"""The contenders of `python_bound`, each a process that prints its figures.

    python -m tools.bench.python_bound_ends one|workers-1|workers-2|itself|pipeline|pool|dora LOOPS FRAMES
    python -m tools.bench.python_bound_ends hop-here|hop-worker|hop-here-small|hop-worker-small 0 FRAMES

Every frame goes through three stages of `burn(LOOPS)`. Frames are counted when all is at work: the first
`WARM` are not, nor those before `itself` has moved its operators, or has not for a while.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

from tools.bench.burning import burn

WARM = 10
STAGES = ("first", "second", "third")
GRAPH = Path(__file__).parent / "graphs" / "python_bound.py"
PATIENCE = 60.0
"""Seconds that `itself` is given to move operators."""

LOOK_SECONDS = 0.2
"""Between two looks at how many frames were delivered: the report that is made for it takes milliseconds of the
process that is measured (every 5 ms, it took a third to half of a core)."""


def flowedge(how: str, loops: int, frames: int) -> dict[str, float]:
    """Our graph in one process, with the operators on some workers, or as it decides itself."""
    from flowedge.cli.run import SWITCH_SECONDS
    from flowedge.graph.loading import load
    from flowedge.runtime.controller.offloading import Offloading
    from flowedge.runtime.routes import Configuration
    from flowedge.runtime.run import Run

    graph, _ = load(GRAPH, {"loops": str(loops), "count": "1000000"})
    sys.setswitchinterval(SWITCH_SECONDS)
    with Run(graph) as run:

        def delivered() -> int:
            return sum(camera.delivered for camera in run.report().cameras.values())

        if how.startswith("workers"):
            names = tuple(f"w{number}" for number in range(int(how.partition("-")[2])))
            run.routes.switch(Configuration((), dict.fromkeys(STAGES, names)))
        elif how == "itself":
            begun = time.monotonic()
            with Offloading(run):
                while not run.decisions.so_far() and time.monotonic() - begun < PATIENCE:
                    time.sleep(LOOK_SECONDS)
                decided_after = time.monotonic() - begun
                return {**figures(delivered, frames), "decided_after": decided_after}
        return figures(delivered, frames)


def figures(delivered: Callable[[], int], frames: int) -> dict[str, float]:
    """What happens from some frames on until so many more have come."""
    first = delivered() + WARM
    while delivered() < first:
        time.sleep(LOOK_SECONDS)
    first, begun, worked = delivered(), time.monotonic(), processor_seconds()
    while (count := delivered() - first) < frames:
        time.sleep(LOOK_SECONDS)
    return {"frames": count, "seconds": time.monotonic() - begun, "cpu_seconds": processor_seconds() - worked}


def processor_seconds() -> float:
    """What this process and all that come from it have used."""
    used, parents = {}, {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        pid = int(stat.parent.name)
        parents[pid], used[pid] = int(fields[1]), int(fields[11]) + int(fields[12])
    ours = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in ours} - ours:
        ours |= more
    return sum(used.get(pid, 0) for pid in ours) / os.sysconf("SC_CLK_TCK")


def pipeline(loops: int, frames: int) -> dict[str, float]:
    """By hand: a process for each stage, with queues between them."""
    context = multiprocessing.get_context("spawn")
    queues: list[Any] = [context.Queue(4) for _ in range(len(STAGES) + 1)]
    for taken, given in pairwise(queues):
        context.Process(target=stage, args=(taken, given, loops), daemon=True).start()
    context.Process(target=source, args=(queues[0],), daemon=True).start()
    return counted(iter(queues[-1].get, None), frames)


def stage(taken: Any, given: Any, loops: int) -> None:
    while True:
        value = taken.get()
        burn(loops)
        given.put(value)


def source(given: Any) -> None:
    index = 0
    while True:
        given.put(message(index))
        index += 1


def message(index: int) -> dict[str, Any]:
    return {"camera": "numbers", "index": index, "monotonic": time.monotonic(), "kind": "number"}


def pool(loops: int, frames: int) -> dict[str, float]:
    """By hand: a pool of two processes, all stages of a frame in one of them."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(2, initializer=_remember, initargs=(loops,)) as workers:
        given = map(message, range(frames + 4 * WARM))
        return counted(workers.imap(all_stages, given), frames)


_loops = 0


def _remember(loops: int) -> None:
    global _loops
    _loops = loops


def all_stages(value: dict[str, Any]) -> dict[str, Any]:
    for _ in STAGES:
        burn(_loops)
    return value


def hop(place: str, frames: int) -> dict[str, float]:
    """What it takes to bring pictures of 1080p, or small ones, to an operator here or on a worker, and back.

    Thirty a second; the time is that from capture to sink, and what all processes use of the processor.
    """
    from flowedge import Graph
    from flowedge.cli.run import SWITCH_SECONDS
    from flowedge.operators import Null
    from flowedge.runtime.routes import Configuration
    from flowedge.runtime.run import Run
    from tools.bench.hop import Pass, Ticking

    where, _, size = place.partition("-")
    graph = Graph("hop")
    source = Ticking({"camera": ""}, frames=1_000_000, rate=30.0, small=bool(size))
    graph.source(source) >> Pass() >> Null()
    sys.setswitchinterval(SWITCH_SECONDS)
    with Run(graph) as run:
        if where == "worker":
            run.routes.switch(Configuration((), {"Pass": ("w0",)}))
        time.sleep(1.0)  # the first pictures take pages of memory
        measuring, worked = run.measuring(), processor_seconds()
        time.sleep(frames / 30.0)
        used, window = processor_seconds() - worked, measuring.window()
        p50, p95 = (1e3 * (window.latency.quantile(share) or 0.0) for share in (0.5, 0.95))
        return {"frames": len(window.latency), "cpu_seconds": used, "p50": p50, "p95": p95}


def counted(values: Any, frames: int) -> dict[str, float]:
    """The figures of what comes out of an iterator."""
    for _ in range(WARM):
        next(values)
    begun, worked = time.monotonic(), processor_seconds()
    for _ in range(frames):
        next(values)
    return {"frames": frames, "seconds": time.monotonic() - begun, "cpu_seconds": processor_seconds() - worked}


def dora(loops: int, frames: int) -> dict[str, float]:
    """Five nodes of dora-rs: a source, the stages, a sink that counts."""
    from tools.bench.transports import ROOT, dora_command

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        before = "source"
        arguments = f"-m tools.bench.python_bound_ends dora-{{}} {loops} {frames} {folder}"
        nodes: list[dict[str, Any]] = [
            {
                "id": "source",
                "path": sys.executable,
                "args": arguments.format("source"),
                "inputs": {"back": {"source": "sink/back", "queue_size": 100}},
                "outputs": ["value"],
            }
        ]
        for stage_name in (*STAGES, "sink"):
            nodes.append(
                {
                    "id": stage_name,
                    "path": sys.executable,
                    "args": arguments.format("sink" if stage_name == "sink" else "stage"),
                    "inputs": {"value": {"source": f"{before}/value", "queue_size": 100}},
                    "outputs": ["back" if stage_name == "sink" else "value"],
                }
            )
            before = stage_name
        (folder / "dataflow.yml").write_text(json.dumps({"nodes": nodes}))
        command = [str(dora_command()), "run", str(folder / "dataflow.yml")]
        begun = os.times()
        done = subprocess.run(
            command,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
        )
        used = os.times()
        made = folder / "figures"
        if not made.exists():
            raise SystemExit(f"dora: {done.stdout.strip()[-2000:]}")
        found: dict[str, float] = json.loads(made.read_text())
        spent = used.children_user + used.children_system - begun.children_user - begun.children_system
        return {**found, "cpu_seconds": spent * frames / (frames + WARM)}


def dora_node(role: str, loops: int, frames: int, folder: Path) -> None:
    """One node: frames in flight are bounded by what comes back from the sink."""
    import pyarrow
    from dora import Node

    node = Node()
    if role == "source":
        for index in range(frames + WARM):
            if index >= 8:
                next(event for event in node if event["type"] == "INPUT")
            node.send_output("value", pyarrow.array([json.dumps(message(index))]))
        for event in node:  # what it sent last is lost if it goes now
            if event["type"] != "INPUT":
                return
        return
    count, begun = 0, 0.0
    for event in node:
        if event["type"] != "INPUT":
            continue
        if role == "stage":
            burn(loops)
            node.send_output("value", event["value"])
            continue
        count += 1
        node.send_output("back", pyarrow.array([count]))
        if count == WARM:
            begun = time.monotonic()
        elif count == frames + WARM:
            (folder / "figures").write_text(json.dumps({"frames": frames, "seconds": time.monotonic() - begun}))
            return


def main(how: str, loops: int, frames: int, *rest: str) -> None:
    if how.startswith("dora-"):
        dora_node(how.partition("-")[2], loops, frames, Path(rest[0]))
        return
    if how.startswith("hop-"):
        print(json.dumps(hop(how.removeprefix("hop-"), frames)))
        return
    by_hand = {"pipeline": pipeline, "pool": pool, "dora": dora}
    found = by_hand[how](loops, frames) if how in by_hand else flowedge(how, loops, frames)
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:])
