"""FlowEdge's side of a comparison: a graph, run as `flowedge run` would, reporting like the other contenders.

python -m tools.bench.ours GRAPH FRAMES [NAME=VALUE ...]
"""

from __future__ import annotations

import json
import sys
import time

from flowedge.cli.arguments import assignments
from flowedge.cli.run import SWITCH_SECONDS
from flowedge.graph.loading import load
from flowedge.runtime.run import Run


def main(graph: str, frames: int, words: list[str]) -> None:
    loaded, _ = load(graph, assignments(words))
    sys.setswitchinterval(SWITCH_SECONDS)
    with Run(loaded, frames=frames) as run:
        begun, cpu_begun = time.monotonic(), time.process_time()
        report = run.wait()
        seconds, cpu_seconds = time.monotonic() - begun, time.process_time() - cpu_begun
    figures = {
        "frames": sum(camera.delivered for camera in report.cameras.values()),
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "peak_rss_bytes": run.report().peak_rss_bytes,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
