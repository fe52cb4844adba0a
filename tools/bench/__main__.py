"""Measure FlowEdge against peers and baselines.

    python -m tools.bench throughput --video car.mp4 --model yolo11n
    python -m tools.bench ultralytics --video car.mp4 --model path/to/yolo11n-640.onnx
    python -m tools.bench cameras --video car.mp4 --model yolo11n
    python -m tools.bench ingest --video car.mp4
    python -m tools.bench overload
    python -m tools.bench dispatch
    python -m tools.bench hop
    python -m tools.bench transports
    python -m tools.bench merging
    python -m tools.bench python-bound
    python -m tools.bench composite --video TownCentre.mp4 --model yolo11n

`python -m tools.bench.sahi` and `python -m tools.bench.trackers` have options of their own. Peers are in the
extra `bench`.

Every figure is a median with its range over `--rounds` pairs, the two contenders in turn.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from tools.bench import composite, dispatch, hop, ingest, merging, overload, python_bound, transports
from tools.bench.pairs import Contender, compare, python

GRAPHS = Path(__file__).parent / "graphs"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=sorted(MEASUREMENTS))
    parser.add_argument("--video", help="an H.264 file")
    parser.add_argument("--model", help="name or path of a detector with an input of 640 pixels")
    parser.add_argument("--frames", type=int, default=150, help="frames a run (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="pairs of runs (default %(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        options.folder = Path(folder)
        for line in MEASUREMENTS[options.what](options):
            print(line, flush=True)


def throughput(options: argparse.Namespace) -> list[str]:
    """File -> decode -> detect 640 -> draw -> encode, against one hand-written loop."""
    frames = str(options.frames)
    words = (f"source={options.video}", f"model={options.model}", f"output={options.folder}/ours.mp4")
    ours = python("-m", "tools.bench.ours", str(GRAPHS / "annotate.py"), frames, *words)
    loop = python("-m", "tools.bench.loop", options.video, options.model, f"{options.folder}/loop.mp4", frames)
    return compare(Contender("flowedge", (ours,)), Contender("hand-written loop", (loop,)), options.rounds)


def ultralytics(options: argparse.Namespace) -> list[str]:
    """Detection alone, against `ultralytics.YOLO(model).predict(video, stream=True)`, by either engine."""
    frames = str(options.frames)
    theirs = python("-m", "tools.bench.ultralytics_predict", options.video, options.model, frames)
    lines = []
    for engine in ("openvino", "onnxruntime"):
        words = (f"source={options.video}", f"model={options.model}", f"engine={engine}")
        ours = python("-m", "tools.bench.ours", str(GRAPHS / "find.py"), frames, *words)
        pair = Contender(f"flowedge on {engine}", (ours,)), Contender("ultralytics on onnxruntime", (theirs,))
        lines += compare(*pair, options.rounds)
    return lines


def cameras(options: argparse.Namespace) -> list[str]:
    """Four files at once in one process, against four hand-written processes."""
    frames = str(options.frames)
    words = (f"source={options.video}", f"model={options.model}", "cameras=4")
    output = f"output={options.folder}/{{camera}}.mp4"
    ours = python("-m", "tools.bench.ours", str(GRAPHS / "annotate.py"), frames, *words, output)
    loops = tuple(
        python("-m", "tools.bench.loop", options.video, options.model, f"{options.folder}/{n}.mp4", frames)
        for n in range(4)
    )
    return compare(Contender("flowedge", (ours,)), Contender("four loops", loops), options.rounds)


MEASUREMENTS: dict[str, Callable[[argparse.Namespace], Iterable[str]]] = {
    "cameras": cameras,
    "composite": lambda options: composite.measure([options.video], options.model),
    "dispatch": lambda _: dispatch.measure(),
    "hop": lambda _: hop.measure(2000),
    "merging": lambda options: merging.measure(options.rounds),
    "ingest": lambda options: ingest.measure(options.video, options.frames, options.rounds),
    "overload": lambda _: overload.measure(),
    "python-bound": lambda options: python_bound.measure(options.frames, options.rounds),
    "throughput": throughput,
    "transports": lambda options: transports.measure(60, options.rounds),
    "ultralytics": ultralytics,
}

if __name__ == "__main__":
    main()
