"""Measure the quality of detection and tracking on any source with truth.

    python -m tools.quality coco128 --model yolo11n --size 640 --coco
    python -m tools.quality visdrone --model yolo11n --tiles 1,4,6 --csv visdrone.csv --plot visdrone.png
    python -m tools.quality PETS09-S2L1.mp4 --model yolo11n --tracker track --tiles 1,4
    python -m tools.quality "street://?people=12&seconds=4" --graph graphs/detect.py model=yolo11n
    python -m tools.quality PETS09-S2L1.mp4 --found tracks.txt

SOURCE is a street:// address, a video with NAME.gt.txt beside it (or --truth), a folder of pictures with
gt/gt.txt (MOT), images and annotations (VisDrone), or images and labels (YOLO, classes of COCO). What is
measured is a pipeline of --model, a graph with a parameter `source`, or a file that JSONLines or MOTFile wrote.

AP is COCO's (101 points, all scores from --lowest on). Precision, recall, F1 and ROMA's score are at IoU 0.5
and --confidence. "tracked" is the share of objects correctly tracked
(flowedge.vision.evaluation.correctly_tracked).
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowedge import UserError

if TYPE_CHECKING:
    from tools.quality.pipeline import PipelineResult
    from tools.quality.sources import Annotated


def main() -> None:
    """Entry point: a mistake that the user can mend is one sentence."""
    options = _parser().parse_intermixed_args()
    try:
        _measure(options)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m tools.quality", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("source", metavar="SOURCE")
    add("words", nargs="*", metavar="NAME=VALUE", help="parameters of --graph")
    add("--truth", type=Path, metavar="FILE", help="true rows in MOT format")
    add("--frames", type=_number(int, 1), metavar="N", help="only the first N frames")
    add("--csv", type=Path, metavar="FILE", help="write the table as CSV")
    add("--plot", type=Path, metavar="FILE", help="write a PNG: a curve for one setting, bars for several")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--model", type=_list(str), metavar="NAME,...", help="names or paths of detectors")
    what.add_argument("--graph", type=Path, metavar="FILE", help="a graph; its last detections or tracks count")
    what.add_argument("--found", type=Path, metavar="FILE", help="what JSONLines (.jsonl) or MOTFile wrote")
    how = parser.add_argument_group("pipeline, for --model; lists of values give a row for each combination")
    how.add_argument("--size", type=_list(int), default=[None], metavar="PX,...", help="network input")
    how.add_argument("--tiles", type=_list(int), default=[1], metavar="N,...", help="slices (default 1)")
    how.add_argument(
        "--tracker",
        type=_list(str),
        default=["none"],
        metavar="KIND,...",
        help="none, track (after the merge), picture (the same, looking), tiles (in each tile)",
    )
    how.add_argument("--lowest", type=_number(float, 0, 1), help="least score (default 0.001, tracked 0.1)")
    how.add_argument(
        "--overlap", type=_number(float, 0, 1), default=0.7, help="of one object (default %(default)s)"
    )
    how.add_argument("--engine", choices=("openvino", "onnxruntime"), default="openvino")
    how.add_argument("--precision", choices=("f32",), help="default: the engine's own choice")
    rules = parser.add_argument_group("what counts")
    rules.add_argument(
        "--classes", metavar="LIST", help="e.g. person,vehicle=car+van+bus; default: the classes of the truth"
    )
    rules.add_argument("--confidence", type=_number(float, 0, 1), default=0.25, help="default %(default)s")
    rules.add_argument(
        "--ignore-hidden",
        type=_number(float, 0, 1),
        metavar="SHARE",
        help="objects less visible than this (street)",
    )
    rules.add_argument(
        "--ignore-above", type=_number(float, 0), metavar="Y", help="boxes that end above this line, in pixels"
    )
    rules.add_argument("--originals", action="store_true", help="only the frames in NAME.unique_frames.txt")
    rules.add_argument("--coco", action="store_true", help="also AP by pycocotools")
    return parser


def _measure(options: argparse.Namespace) -> None:
    from rich.console import Console

    from tools.quality import report

    for path in filter(None, (options.csv, options.plot)):
        if not path.absolute().parent.is_dir():
            raise UserError(f"{path}: its folder does not exist")
    source = _source(options)
    console = Console(width=None if sys.stdout.isatty() else 200)
    rows = []
    for setting, outcome in _outcomes(options, source):
        rows.append(report.measure(source, outcome, setting, options.confidence, coco=options.coco))
        done = ", ".join(f"{name} {value}" for name, value in setting.items() if value is not None)
        print(f"measured {done}", file=sys.stderr)
    title = f"{source.name}, confidence {options.confidence:g}"
    console.print(report.table(rows, title))
    if options.csv:
        report.write_csv(rows, options.csv)
    if options.plot:
        report.plot(rows, title, options.plot)


def _source(options: argparse.Namespace) -> Annotated:
    from tools.quality.sources import annotated, originals

    source = annotated(options.source, options.truth)
    if options.originals:
        if options.graph:
            raise UserError("--originals: a graph reads its own frames, so none can be left out")
        source = replace(source, only=originals(options.source))
    ignore = source.ignore
    if options.ignore_hidden is not None:
        if not source.is_street:
            raise UserError(
                f"--ignore-hidden: the truth of {source.name} does not say how visible an object is"
            )
        ignore = replace(ignore, visible=options.ignore_hidden)
    if options.ignore_above is not None:
        ignore = replace(ignore, above=options.ignore_above)
    classes = source.classes if options.classes is None else _classes(options.classes)
    return replace(source, ignore=ignore, classes=classes)


def _classes(text: str) -> dict[str, tuple[str, ...]]:
    """Classes as they are written: "person,vehicle=car+van"."""
    classes = {}
    for word in text.split(","):
        name, _, members = word.partition("=")
        classes[name] = tuple((members or name).split("+"))
        if not name or not all(classes[name]):
            raise UserError(f"--classes {text}: write names with commas, e.g. person,vehicle=car+van+bus")
    return classes


def _outcomes(
    options: argparse.Namespace, source: Annotated
) -> Iterator[tuple[dict[str, object], PipelineResult]]:
    """Each setting that was asked for, and what it found."""
    from tools.quality.pipeline import TRACKERS, PipelineResult, Setting, run_graph, run_setting

    words = dict(word.partition("=")[::2] for word in options.words)
    if options.words and (not options.graph or not all("=" in word for word in options.words)):
        raise UserError(f"{' '.join(options.words)}: only --graph takes parameters, written NAME=VALUE")
    if options.graph:
        yield {"graph": options.graph.stem, **words}, run_graph(options.graph, words, source, options.frames)
    elif options.found:
        from tools.quality.results import read_results
        from tools.quality.sources import CAMERA

        found = read_results(options.found, CAMERA, source.groups)
        truth = [true for _, true in itertools.islice(source.frames(), options.frames)]
        yield {"found": options.found.name}, PipelineResult(found, truth)
    else:
        for model, size, tiles, tracker in itertools.product(
            options.model, options.size, options.tiles, options.tracker
        ):
            if tracker not in TRACKERS:
                raise UserError(f"--tracker {tracker}: is none of {', '.join(TRACKERS)}")
            lowest = options.lowest if options.lowest is not None else (0.001 if tracker == "none" else 0.1)
            setting = Setting(
                model, size, tiles, tracker, lowest, options.overlap, options.engine, options.precision
            )
            yield setting.varied, run_setting(source, setting, options.frames)


def _list(kind: Callable[[str], Any]) -> Callable[[str], list[Any]]:
    def parse(text: str) -> list[Any]:
        try:
            return [kind(word) for word in text.split(",")]
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a list of numbers such as 1,2,4") from None

    return parse


def _number(kind: type[int] | type[float], least: float, most: float = float("inf")) -> Callable[[str], float]:
    def parse(text: str) -> float:
        value: float
        try:
            value = kind(text)
        except ValueError:
            value = least - 1
        if not least <= value <= most:
            limits = f"from {least:g}" + (f" to {most:g}" if most < float("inf") else "")
            raise argparse.ArgumentTypeError(f"{text!r} is not a number {limits}")
        return value

    return parse


if __name__ == "__main__":
    main()
