"""Run a pipeline over a source with ground truth, and collect its results beside the truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from flowedge import Detections, Frame, Gather, Graph, GraphError, Stream, Tracks, join
from flowedge.graph.loading import load as load_graph
from flowedge.graph.nodes import Output
from flowedge.graph.signature import signature
from flowedge.inference.detector import Detector
from flowedge.inference.models import resolve
from flowedge.monitor.report import Report
from flowedge.operators import Detect
from flowedge.runtime.run import Run
from flowedge.testing import Collect
from tools.quality.sources import Annotated

TRACKERS = ("none", "track", "picture", "tiles")


@dataclass(frozen=True)
class Setting:
    """How objects are found.

    The frame is cut into `tiles`, besides which the whole frame is looked at; 1 is the whole frame alone.
    `lowest` is the least score of a detection, `overlap` that from which two are one object. `tracker` is
    "track" for `Track` behind the merge, "picture" for `TrackWithPicture` there, which looks at motion of the
    camera and appearance, and "tiles" for `TrackTile` in each tile and `Reconstruct`.
    """

    model: str
    size: int | None = None
    tiles: int = 1
    tracker: str = "none"
    lowest: float = 0.001
    overlap: float = 0.7
    engine: Literal["openvino", "onnxruntime"] = "openvino"
    precision: Literal["f32"] | None = None

    @property
    def varied(self) -> dict[str, object]:
        """What tells one row of a table from another."""
        return {name: asdict(self)[name] for name in ("model", "size", "tiles", "tracker")}


@dataclass(frozen=True)
class PipelineResult:
    """What was found in each frame and what is true there, and how fast: frames a second, and the median time
    in ms that the detector took for one picture."""

    found: list[Detections]
    truth: list[Tracks]
    fps: float | None = None
    detect_ms: float | None = None


def run_setting(source: Annotated, setting: Setting, frames: int | None = None) -> PipelineResult:
    """Run one setting over the source, or its first `frames`."""
    graph = Graph("quality")
    pictures, truth = source.begin(graph)
    both: Collect[tuple[Detections, Tracks]] = Collect()
    join(_found(pictures, setting, source), truth) >> both
    report = _run(graph, frames)
    found, true = [pair[0] for pair in both.values], [pair[1] for pair in both.values]
    return PipelineResult(found, true, report.fps, report.operators["Detect"].service_ms["p50"])


def run_graph(
    file: Path, given: Mapping[str, str], source: Annotated, frames: int | None = None
) -> PipelineResult:
    """Run a graph of the user's with its parameter `source` set; what its last finder found is measured."""
    graph, _ = load_graph(file, {"source": source.address, **given})
    finders = [
        node.name
        for node in graph.nodes
        if isinstance(kind := signature(node.step).gives, type)
        and issubclass(kind, Detections)
        and (isinstance(node.step, Gather) or not node.tiled)
    ]
    if not finders:
        raise GraphError(f"{file}: no operator in it gives Detections, so there is nothing to measure")
    both: Collect[Detections] = Collect(name="quality")
    Stream[Detections](graph, Output(finders[-1])) >> both
    report = _run(graph, frames)
    truth = []
    for count, (_, true) in enumerate(source.frames(), start=1):
        truth.append(true)
        if count == frames:
            break
    return PipelineResult(both.values, truth, report.fps)


def _run(graph: Graph, frames: int | None) -> Report:
    with Run(graph, frames=frames, max_failures=0.0) as run:
        return run.wait()


def _found(pictures: Stream[Frame], setting: Setting, source: Annotated) -> Stream[Detections]:
    detect = Detect(
        setting.model,
        classes=_known(setting, source),
        confidence=setting.lowest,
        overlap=setting.overlap,
        size=setting.size,
        engine=setting.engine,
        precision=setting.precision,
    )
    if setting.tiles == 1 and setting.tracker != "tiles":
        found = pictures >> detect
    else:
        from flowedge.operators.slice import Slice

        parts = pictures >> Slice(setting.tiles) >> detect
        if setting.tracker == "tiles":
            from flowedge.operators.reconstruct import Reconstruct
            from flowedge.operators.track_tile import TrackTile

            return parts >> TrackTile() >> Reconstruct()
        from flowedge.operators.non_max_merge import NonMaxMerge

        found = parts >> NonMaxMerge()
    if setting.tracker == "track":
        from flowedge.operators.track import Track

        return found >> Track()
    if setting.tracker == "picture":
        from flowedge.operators.track_with_picture import TrackWithPicture

        return join(pictures, found) >> TrackWithPicture()
    return found


def _known(setting: Setting, source: Annotated) -> tuple[str, ...]:
    """The evaluated names that the model knows, so that trackers get nothing else."""
    names = Detector(
        resolve(setting.model, setting.size), setting.engine, setting.size, setting.precision
    ).names
    return tuple(name for name in source.wanted if name in names)
