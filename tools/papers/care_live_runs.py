"""CARE's composite application deployed on this machine: how long a frame takes, and what is found in it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2

from flowedge.errors import UserError
from flowedge.graph.graph import Graph
from flowedge.graph.loading import load
from flowedge.operators import Detect, Null, Slice, video
from flowedge.planner.model.profiles import Setting
from flowedge.profiling.measure import measured
from flowedge.profiling.trials import trials
from flowedge.runtime.limits import Limits
from flowedge.runtime.plan_file import LocalPlan, local_plan
from flowedge.runtime.routes import first_setting
from flowedge.runtime.run import Run
from flowedge.vision.evaluation import correctly_tracked, detection_quality
from tools.quality.pipeline import run_graph
from tools.quality.sources import Annotated

WARM = 3
"""Frames of a run that are not measured."""

ONE_BY_ONE = Limits(file_window=1)
"""A frame is read when the one before it is done, as at the paper's 0.5 frames a second."""

INSTANCE = "Detect"


@dataclass(frozen=True)
class Deployed:
    """A deployment at work: seconds of a frame from its reading to its sinks, and of an instance for a tile.

    `cores` are those of each instance, None for what nobody limits in one process. `kept_by` says by what.
    """

    tiles: int
    instances: int
    cores: float | None
    mean: float
    p95: float
    fps: float
    service: float
    kept_by: str


@dataclass(frozen=True)
class Quality:
    """The share (0..1) of objects correctly tracked, F1 and AP50 of detections; `fps` in one process."""

    tracked: float
    f1: float
    ap50: float
    fps: float


@dataclass(frozen=True)
class Profile:
    """Seconds that a frame takes on one core: for each of its `parts`, and for all that is no instance."""

    parts: int
    instance: float
    rest: float


def write_pictures(clip: Path, folder: Path, count: int) -> None:
    """Write the first frames of a clip: a decoder of video would hold some back, which counts as latency."""
    folder.mkdir(exist_ok=True)
    video_file = cv2.VideoCapture(str(clip))
    for number in range(count):
        there, image = video_file.read()
        if not there:
            raise UserError(f"{clip}: has {number} frames, but {count} are needed")
        cv2.imwrite(str(folder / f"{number:04}.jpg"), image)
    video_file.release()


def parts_of(tiles: int) -> int:
    """The parts of a frame: its tiles and the frame itself, which `Slice` adds."""
    return tiles + Slice(tiles).whole_frame if tiles > 1 else 1


def profiled(path: Path, given: Mapping[str, str], frames: int) -> dict[int, Profile]:
    """Every number of tiles of a graph, by that, as `flowedge profile` measures it on one core."""
    found = {}
    for one in measured(list(trials(str(path), given, {})), cores=1, frames=frames):
        tiles = dict(one.setting)["tiles"]
        assert isinstance(tiles, int)
        seconds = {step.operator: step.seconds for step in one.times}
        parts = parts_of(tiles)
        instance = seconds.pop(INSTANCE) / parts
        found[tiles] = Profile(parts, instance, sum(seconds.values()))
    return found


def quality(path: Path, given: Mapping[str, str], tiles: int, source: Annotated, frames: int) -> Quality:
    """What a graph finds in frames of a source with so many tiles; shares of cores do not change it."""
    with tempfile.TemporaryDirectory() as folder:
        words = {**given, "tiles": str(tiles), "output": f"{folder}/mot.mp4"}
        outcome = run_graph(path, words, source, frames)
    rules = source.classes, source.ignore
    found = detection_quality(outcome.found, outcome.truth, *rules)
    tracked = correctly_tracked(outcome.found, outcome.truth, *rules)  # type: ignore[arg-type]
    return Quality(tracked, found.f1, found.ap50, outcome.fps or 0.0)


def deployed(path: Path, given: Mapping[str, str], tiles: int, cores: float | None, frames: int) -> Deployed:
    """Run a graph with an instance for every part of a frame, each with so many cores, or in one process."""
    with tempfile.TemporaryDirectory() as folder:
        words = {**given, "tiles": str(tiles), "output": f"{folder}/mot.mp4"}
        graph, _ = load(str(path), words)
        instances = parts_of(tiles)
        if cores is None:
            return _ran(graph, LocalPlan([], {}, None, ()), tiles, 1, None, frames, ONE_BY_ONE)
        plan = _plan(graph, instances, cores)
        return _ran(graph, plan, tiles, instances, cores, frames, ONE_BY_ONE)


def detectors(clip: Path, model: str, cores: float, frames: int, *, enforced: bool) -> Deployed:
    """Two detectors on workers, both of which always have something to do."""
    graph = Graph("detectors")
    video(graph, str(clip)) >> Detect(model) >> Null()
    plan = _plan(graph, 2, cores)
    if not enforced:
        plan = LocalPlan(plan.configurations, {}, None, ())
    return _ran(graph, plan, 1, 2, cores, frames, Limits())


def _ran(
    graph: Graph, plan: LocalPlan, tiles: int, instances: int, cores: float | None, frames: int, limits: Limits
) -> Deployed:
    with Run(graph, frames=WARM + frames, plan=plan.configurations, shares=plan.shares, limits=limits) as run:
        while sum(camera.delivered for camera in run.report().cameras.values()) < WARM:
            run.finished_within(0.02)
        measuring = run.measuring()
        report = run.wait()
        window = measuring.window()
        mean, p95 = window.latency.mean(), window.latency.quantile(0.95)
    assert mean is not None
    assert p95 is not None
    means = {worker.kept_by for worker in report.workers.values() if worker.kept_by}
    fps = sum(rate.delivered for rate in window.cameras.values())
    kept = ", ".join(sorted(means)) or "nothing"
    return Deployed(tiles, instances, cores, mean, p95, fps, window.service[INSTANCE], kept)


def _plan(graph: Graph, instances: int, cores: float) -> LocalPlan:
    """What `flowedge run --plan` reads: so many replicas of the detector, the others in one process."""
    placements: dict[str, Any] = {
        node.name: {"node": "here", "deployment": 0 if node.name == INSTANCE else None} for node in graph.nodes
    }
    chosen = dict(first_setting(graph))
    route = {"cameras": "camera", "count": 1, "setting": chosen, "placements": placements}
    deployment = {"operator": INSTANCE, "node": "here", "replicas": instances, "cores": cores, "work": 0}
    return local_plan(graph, "plan", json.dumps({"deployments": [deployment], "routes": [route]}))


def chosen_tiles(found: Setting) -> int:
    """
    >>> chosen_tiles(setting(tiles=4))
    4
    """
    tiles = dict(found)["tiles"]
    assert isinstance(tiles, int)
    return tiles
