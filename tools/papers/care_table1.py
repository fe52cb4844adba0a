"""CARE's Table I, run again: how slicing raises the share of objects that are tracked correctly.

    python -m tools.papers.care_table1 --csv care.csv --plot care.png
    python -m tools.papers.care_table1 --video TownCentre.mp4 --model yolo11n --csv towncentre.csv

Rows are the number of objects and the height of the picture, columns the whole frame ("bench" in the paper) and
2, 4 or 6 tiles beside it. Every setting runs Slice >> Detect >> NonMaxMerge >> Track, the same one over the
same frames; the figure is `flowedge.vision.evaluation.correctly_tracked`. The scene is the synthetic street
with as many people and vehicles as the paper has objects (three quarters people), or a video with truth scaled
down.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from flowedge import Detections, Frame, Graph, Parts, Stream, Tracks, join
from flowedge.operators import Detect, NonMaxMerge, Resize, Slice, Track
from flowedge.runtime.run import Run
from flowedge.testing import Collect
from flowedge.vision.evaluation import correctly_tracked
from tools.papers.files import write_csv
from tools.quality.sources import Annotated, annotated

TILES = (1, 2, 4, 6)
SIZES = {480: 854, 1080: 1920}  # height: width of 16 : 9 in pixels
OBJECTS = (1, 30, 150)
PAPER = {
    (1, 480): (99, 99, 99, 99),
    (30, 480): (56, 68, 71, 73),
    (30, 1080): (80, 85, 87, 90),
    (150, 480): (30, 38, 43, 45),
    (150, 1080): (72, 79, 85, 88),
}
"""Table I of the paper, in percent."""


@dataclass(frozen=True)
class Table1Row:
    """The shares (0..1) of objects correctly tracked with 1, 2, 4 and 6 tiles."""

    objects: int | None
    height: int
    shares: tuple[float, ...]

    def cells(self) -> list[str]:
        """As a line of a table."""
        return [
            str(self.objects or "clip"),
            f"{self.height}p",
            *(f"{100 * share:.1f}" for share in self.shares),
        ]

    def paper(self) -> list[str]:
        """The same line in the paper; dashes where it has none."""
        return [str(share) for share in PAPER.get((self.objects or 0, self.height), ("-",) * len(TILES))]


def main() -> None:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--video", help="a video with NAME.gt.txt beside it, instead of the street")
    parser.add_argument("--model", default="street", help="name or path of a detector (default %(default)s)")
    parser.add_argument("--frames", type=int, default=60, help="of each setting (default %(default)s)")
    parser.add_argument("--fps", type=float, default=10, help="of the street (default %(default)s)")
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    sources = _clip(options.video) if options.video else _streets(options.fps)
    rows = []
    print("objects  height  " + "  ".join(f"x={tiles}" for tiles in TILES) + "   (paper)", flush=True)
    for objects, height, source in sources:
        shares = tuple(share(source, height, tiles, options.model, options.frames) for tiles in TILES)
        rows.append(Table1Row(objects, height, shares))
        print("  ".join(rows[-1].cells()), f"  ({', '.join(rows[-1].paper())})", flush=True)
    if options.csv:
        _write(rows, options.csv)
    if options.plot:
        _plot(rows, options.plot)


def share(source: Annotated, height: int, tiles: int, model: str, frames: int) -> float:
    """The share (0..1) of the objects in the first `frames` that are tracked correctly at this height."""
    graph = Graph("care")
    pictures, truth = source.begin(graph)
    if not source.is_street:
        pictures = pictures >> Resize(SIZES[height], height)
    both: Collect[tuple[Tracks, Tracks]] = Collect()
    join(_tracks(pictures, tiles, model), truth) >> both
    with Run(graph, frames=frames, max_failures=0.0) as run:
        run.wait()
    tracks, true = zip(*both.values, strict=True)
    return correctly_tracked(tracks, true, source.classes, source.ignore)


def _tracks(pictures: Stream[Frame], tiles: int, model: str) -> Stream[Tracks]:
    parts: Parts[Detections] = pictures >> Slice(tiles) >> Detect(model, confidence=0.1, overlap=0.5)
    return parts >> NonMaxMerge() >> Track()


def _streets(fps: float) -> Iterator[tuple[int, int, Annotated]]:
    for objects, height in PAPER:
        people = max(1, round(0.75 * objects))
        view = f"people={people}&vehicles={objects - people}&width={SIZES[height]}&height={height}"
        yield objects, height, annotated(f"street://?{view}&fps={fps:g}&seed=11", None)


def _clip(video: str) -> Iterator[tuple[None, int, Annotated]]:
    for height in SIZES:
        yield None, height, annotated(video, None)


def _write(rows: Sequence[Table1Row], path: Path) -> None:
    header = ["objects", "height", *(f"x{n}" for n in TILES), *(f"paper_x{n}" for n in TILES)]
    write_csv(path, [header, *([*row.cells(), *row.paper()] for row in rows)])


def _plot(rows: Sequence[Table1Row], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for row in rows:
        label = f"{row.objects or 'clip'} objects, {row.height}p"
        (line,) = axes.plot(TILES, [100 * share for share in row.shares], "o-", label=label)
        if (row.objects or 0, row.height) in PAPER:
            axes.plot(TILES, PAPER[row.objects or 0, row.height], ":", color=line.get_color())
    axes.set(
        xlabel="tiles (1: whole frame)", ylabel="objects correctly tracked, %", xticks=TILES, ylim=(0, 100)
    )
    axes.set_title("CARE, Table I: measured (solid) and in the paper (dotted)")
    axes.legend(fontsize="small")
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
