"""CARE's evaluation, live: `graphs/mot.py` in one process against tiles over instances with shares of a core.

    python -m tools.papers.care_live --data DATA --out care_live

- Quality: in frames of a clip with ground truth, the share of people correctly tracked (the paper's measure),
  F1 and AP50, for 1, 2, 4 and 6 tiles; beside the paper's Table I.
- Latency: of pictures of the clip that are read one by one, with an instance of `Detect` on a worker of its own
  for every part of a frame, each kept to its share; beside what the profile says: seconds on one core / share,
  and the rest of the graph.
- Choices: what CARE's greedy strategy and ours choose for 0.5 s and every quality, which is then deployed.
- Shares: two detectors with 0.5 and 1 core, kept to them and not.

The paper gives an instance 1 to 12 vCPUs of six servers; here it gets 1 to 12 twentieths of one of this
machine's cores, so that 0.5 s takes about as many of them. What is in the folder already is not measured again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from flowedge.planner.model.cluster import Cluster, Link, Node
from flowedge.planner.model.problem import Application, CameraClass, Problem, Stage
from flowedge.planner.model.profiles import Accuracy, Profiles, Service, setting
from flowedge.planner.planning import solved
from flowedge.profiling.measure import WARM, cores_here
from tools.papers.care_live_runs import (
    Deployed,
    Profile,
    Quality,
    chosen_tiles,
    deployed,
    detectors,
    profiled,
    quality,
    write_pictures,
)
from tools.papers.files import add_data_option, data_folder, write_csv

GRAPH = Path(__file__).parents[2] / "graphs" / "mot.py"
TILES = (1, 2, 4, 6)
UNIT = 0.05  # of a core, for one of the paper's vCPUs
MOST_UNITS = 12
SWEEP = (0.05, 0.1, 0.2, 0.4)
FPS = 0.5
LATENCY = 0.5
REST_CORES = 0.5
"""What the parts of the graph in the process of the command are expected to take."""

STRATEGIES = ("care", "flowedge", "exact")
PAPER = {  # Table I: objects at 1080p -> quality by tiles
    30: dict(zip(TILES, (0.80, 0.85, 0.87, 0.90), strict=True)),
    150: dict(zip(TILES, (0.72, 0.79, 0.85, 0.88), strict=True)),
}


@dataclass(frozen=True)
class Choice:
    """What a strategy chose for a quality: tiles, cores of an instance, seconds expected and measured."""

    least: float
    strategy: str
    tiles: int
    cores: float
    reserved: float
    tried: int
    expected: float
    measured: float


def main() -> None:
    """Measure, plan, deploy, print, write and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_data_option(parser)
    parser.add_argument("--out", type=Path, default=Path("care_live"), help="folder (default %(default)s)")
    parser.add_argument("--clip", default="TownCentre.mp4", help="of `tracking` in the data folder")
    parser.add_argument("--model", default="yolo11n", help="the detector (default %(default)s)")
    parser.add_argument("--size", type=int, default=320, help="of its input in pixels (default %(default)s)")
    parser.add_argument("--frames", type=int, default=8, help="of a deployment (default %(default)s)")
    parser.add_argument("--judged", type=int, default=90, help="frames to judge by (default %(default)s)")
    options = parser.parse_args()
    clip = data_folder(parser, options) / "tracking" / options.clip
    options.out.mkdir(parents=True, exist_ok=True)
    size = str(options.size)
    given = {"model": options.model, "size": size, "classes": "person", "tracker": "tiles"}
    pictures = options.out / "pictures"
    write_pictures(clip, pictures, WARM + options.frames)
    evaluation = Evaluation(clip, pictures, given, options.frames, options.judged, options.out)
    lines = list(evaluation.report())
    (options.out / "care_live.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


@dataclass(frozen=True)
class Evaluation:
    """What is measured, of a clip and of the first `pictures` of it, and where it is kept."""

    clip: Path
    pictures: Path
    given: Mapping[str, str]
    frames: int
    judged: int
    out: Path

    def report(self) -> Iterator[str]:
        """The tables, in Markdown."""
        from tools.papers.care_plots import draw_live

        profiles = self._profiles()
        qualities = {tiles: self._quality(tiles) for tiles in TILES}
        yield from _quality_table(qualities)
        runs = [self._deployed(tiles, None) for tiles in TILES]
        runs += [
            self._deployed(tiles, cores)
            for tiles in TILES
            for cores in SWEEP
            if profiles[tiles].parts * cores + REST_CORES <= cores_here()
        ]
        yield from _latency_table(runs, profiles)
        choices = list(self._choices(profiles, qualities))
        yield from _choice_table(choices)
        held = [(cores, on, self._held(cores, on)) for cores in (0.5, 1.0) for on in (True, False)]
        yield from _held_table(held, profiles[1].instance)
        rows = [list(asdict(run).values()) for run in runs]
        write_csv(self.out / "latency.csv", [list(asdict(runs[0])), *rows])
        expected = {run: expected_latency(profiles, run.tiles, run.cores) for run in runs if run.cores}
        draw_live(runs, expected, qualities, PAPER, LATENCY, self.out / "care_live.png")

    def _given(self, source: Path) -> dict[str, str]:
        return {"source": str(source), **self.given}

    def _profiles(self) -> dict[int, Profile]:
        def measure() -> dict[str, Any]:
            found = profiled(GRAPH, self._given(self.pictures), WARM + self.frames)
            return {str(tiles): asdict(profile) for tiles, profile in found.items()}

        return {int(tiles): Profile(**fields) for tiles, fields in self._kept("profile", measure).items()}

    def _quality(self, tiles: int) -> Quality:
        from tools.quality.sources import annotated

        source = annotated(str(self.clip))
        kept = self._kept(
            f"quality-{tiles}",
            lambda: asdict(quality(GRAPH, self._given(self.clip), tiles, source, self.judged)),
        )
        return Quality(**kept)

    def _deployed(self, tiles: int, cores: float | None) -> Deployed:
        measure = lambda: asdict(deployed(GRAPH, self._given(self.pictures), tiles, cores, self.frames))  # noqa: E731
        return Deployed(**self._kept(f"deployed-{tiles}-{cores}", measure))

    def _held(self, cores: float, enforced: bool) -> Deployed:
        model = f"{self.given['model']}-{self.given['size']}"
        measure = lambda: asdict(detectors(self.clip, model, cores, 8 * self.frames, enforced=enforced))  # noqa: E731
        return Deployed(**self._kept(f"held-{cores}-{enforced}", measure))

    def _choices(self, profiles: Mapping[int, Profile], qualities: Mapping[int, Quality]) -> Iterator[Choice]:
        for least in sorted({round(found.tracked - 0.0005, 3) for found in qualities.values()}):
            problem = composite(profiles, qualities, least)
            for strategy in STRATEGIES:
                planned = solved(problem, strategy)
                if not planned.found or planned.violations:
                    yield Choice(least, strategy, 0, 0.0, 0.0, planned.plan.tried, 0.0, 0.0)
                    continue
                tiles = chosen_tiles(planned.plan.routes[0].setting)
                shares = [
                    deployment.service.cores
                    for deployment in planned.plan.deployments
                    if deployment.operator.startswith("part") and deployment.service.cores
                ]
                ran = self._deployed(tiles, max(shares))
                yield Choice(
                    least, strategy, tiles, max(shares), sum(shares), planned.plan.tried,
                    planned.prediction.latencies[0].total, ran.mean,
                )  # fmt: skip

    def _kept(self, name: str, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What the folder has under a name, or is measured now."""
        path = self.out / f"{name}.json"
        if not path.exists():
            path.write_text(json.dumps(measure(), indent=2) + "\n")
        kept: dict[str, Any] = json.loads(path.read_text())
        return kept


def expected_latency(profiles: Mapping[int, Profile], tiles: int, cores: float) -> float:
    """Seconds of a frame: those of an instance with its share of a core, and of the rest of the graph."""
    return profiles[tiles].instance / cores + profiles[tiles].rest


def composite(profiles: Mapping[int, Profile], qualities: Mapping[int, Quality], least: float) -> Problem:
    """CARE's application on this machine: a stage for every part that there may be, and one for the rest."""
    slots = [f"part {number}" for number in range(1, max(profile.parts for profile in profiles.values()) + 1)]
    services: list[Service] = []
    for tiles, profile in profiles.items():
        at = setting(tiles=tiles)
        for units in range(1, MOST_UNITS + 1):
            cores = units * UNIT
            seconds = profile.instance / cores
            services += [Service(slot, "here", cores, seconds, setting=at) for slot in slots[: profile.parts]]
        services += [Service(slot, "here", 0, 1e-9, setting=at) for slot in slots[profile.parts :]]
        services.append(Service("rest", "here", REST_CORES, profile.rest, setting=at, work=profile.rest))
    stages = (
        Stage("video", source=True),
        *(Stage(slot, ("video",), tier="edge") for slot in slots),
        Stage("rest", tuple(slots), tier="edge"),
    )
    cluster = Cluster(
        ("device", "edge"),
        (Node("camera", "device", "camera", 0), Node("server", "edge", "here", cores_here())),
        (Link("camera", "server", bandwidth=1e12),),
    )
    knobs = (("tiles", tuple(profiles)),)
    return Problem(
        cluster,
        (Application("tracking", stages, knobs, latency=LATENCY, accuracy=least),),
        (CameraClass("camera", "tracking", "camera", FPS),),
        Profiles(
            tuple(services),
            accuracies=tuple(
                Accuracy(quality.tracked, setting(tiles=tiles)) for tiles, quality in qualities.items()
            ),
        ),
        minimize="resources",
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield "| " + " | ".join(map(str, row)) + " |"
    yield ""


def _quality_table(qualities: Mapping[int, Quality]) -> Iterator[str]:
    yield "Quality: people correctly tracked, beside the paper's Table I (1080p)"
    yield ""
    yield from _table(
        ("tiles", "tracked", "F1", "AP50", "frames/s in one process", "paper, 30 objects", "paper, 150"),
        [
            (tiles, f"{found.tracked:.1%}", f"{found.f1:.3f}", f"{found.ap50:.3f}", f"{found.fps:.1f}",
             f"{PAPER[30][tiles]:.0%}", f"{PAPER[150][tiles]:.0%}")
            for tiles, found in qualities.items()
        ],
    )  # fmt: skip


def _latency_table(runs: Sequence[Deployed], profiles: Mapping[int, Profile]) -> Iterator[str]:
    yield "Latency of a frame, read one by one"
    yield ""
    rows = []
    for run in runs:
        expected = expected_latency(profiles, run.tiles, run.cores) if run.cores else None
        error = "" if expected is None else f"{expected / run.mean - 1:+.0%}"
        rows.append((
            run.tiles, run.instances, "all, in one process" if run.cores is None else f"{run.cores:g}",
            f"{1e3 * run.mean:.0f}", f"{1e3 * run.p95:.0f}",
            "" if expected is None else f"{1e3 * expected:.0f}", error,
            f"{1e3 * run.service:.0f}", f"{run.fps:.2f}", run.kept_by,
        ))  # fmt: skip
    yield from _table(
        ("tiles", "instances", "cores each", "mean ms", "p95 ms", "expected ms", "error", "instance ms",
         "frames/s", "kept by"), rows,
    )  # fmt: skip


def _choice_table(choices: Sequence[Choice]) -> Iterator[str]:
    yield f"Choices for {LATENCY:g} s, least cores reserved"
    yield ""
    yield from _table(
        ("quality", "strategy", "tiles", "cores each", "cores in all", "tried", "expected ms", "measured ms"),
        [
            (f"{choice.least:.1%}", choice.strategy, choice.tiles or "no plan", f"{choice.cores:g}",
             f"{choice.reserved:g}", choice.tried, f"{1e3 * choice.expected:.0f}",
             f"{1e3 * choice.measured:.0f}")
            for choice in choices
        ],
    )  # fmt: skip


def _held_table(held: Sequence[tuple[float, bool, Deployed]], alone: float) -> Iterator[str]:
    yield "Two detectors on workers, always busy: service time of a frame"
    yield ""
    rows = []
    for cores, enforced, run in held:
        kept, shared = alone / cores, alone
        error = (kept if enforced else shared) / run.service - 1
        rows.append((
            f"{cores:g}", run.kept_by if enforced else "no", f"{1e3 * kept:.0f}", f"{1e3 * shared:.0f}",
            f"{1e3 * run.service:.0f}", f"{error:+.0%}", f"{run.fps:.1f}",
        ))  # fmt: skip
    yield from _table(
        ("cores each", "kept to them", "kept, ms", "shared, ms", "measured ms", "error", "frames/s"), rows
    )


if __name__ == "__main__":
    main()
