"""A running graph whose knobs, workers, replicas and cameras change at random: what does a change cost?

    python -m tools.switching [file] [live] [--switches 100] [--seed 0]

`file`: a graph on files, whose results are compared, frame by frame, with those of runs that never changed: the
detections with those of the same setting, the tracks with those of one tracker that saw the same detections.
`live`: frames lost, and the longest time without a result, for each change, beside times without any change.
Ends with 1 where a frame is lost, repeated or different, where counts do not balance, where something is left
behind, or where the p99 of the pauses is more than 50 ms.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import hashlib
import logging
import os
import random
import re
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from flowedge import Detections, Frame, Graph, Tracks, choose, join
from flowedge.monitor.report import CountsReport
from flowedge.operators import Detect, Draw, JSONLines, MOTFile, Null, Resize, Track, video
from flowedge.operators.street import StreetView, read_street
from flowedge.runtime.routes import Configuration
from flowedge.runtime.run import Run

WIDTHS = 320, 256, 192
WORKERS = "w1", "w2", "w3"
FPS = 25
LIVE_FPS = 5
LONGEST_PAUSE = 0.05  # seconds beyond the interval of the frames
LATE_FRAMES = 60  # of a camera that comes while the graph runs
NORTH, SOUTH, EAST, WEST = "north", "south", "east", "west"
LATE = EAST, WEST, "east2", "west2"
ALONE = "(no change)"
CAMERA = "camera"


@dataclass
class Keep(Null):
    """Null that keeps what comes, by camera, and when; with a `gate` it takes no frame before it may."""

    kept: dict[str, list[tuple[float, Any]]] = field(
        default_factory=lambda: defaultdict(list), init=False, repr=False
    )
    gate: threading.Semaphore | None = field(default=None, repr=False, compare=False)

    def __deepcopy__(self, _: object) -> Keep:
        return self  # the copy that runs is looked at from outside

    def write(self, value: Any, /) -> None:
        if self.gate is not None:
            self.gate.acquire()
        shown = (value.width, seen(value)) if isinstance(value, Frame) else value
        self.kept[value.origin.camera].append((time.monotonic(), (value.origin.index, shown)))

    def values(self, camera: str) -> list[Any]:
        return [value for _, (_, value) in self.kept[camera]]

    def indices(self, camera: str) -> list[int]:
        return [index for _, (index, _) in self.kept[camera]]


@dataclass(frozen=True)
class Street:
    """A graph on synthetic streets, and its sinks that are looked at."""

    graph: Graph
    boxes: Keep
    tracks: Keep
    pictures: Keep


def street(
    cameras: Mapping[str, str],
    widths: Sequence[int],
    folder: Path | None = None,
    gate: threading.Semaphore | None = None,
) -> Street:
    """Resize, detect, track, draw; with a `folder` also files of tracks."""
    boxes, tracks, pictures = Keep(name="boxes"), Keep(name="tracks"), Keep(name="pictures")
    boxes.gate = gate
    graph = Graph("switching")
    small = video(graph, cameras) >> Resize(choose("width", *widths))
    found = small >> Detect("street", confidence=0.1)
    followed = found >> Track()
    found >> boxes
    followed >> tracks
    join(small, followed) >> Draw() >> pictures
    if folder:
        followed >> MOTFile(str(folder / "{camera}.txt"))
        followed >> JSONLines(str(folder / "{camera}.jsonl"))
    return Street(graph, boxes, tracks, pictures)


def places(draws: random.Random) -> dict[str, tuple[str, ...]]:
    """Workers for some of the operators: none, or one to three."""
    chosen: dict[str, tuple[str, ...]] = {}
    for name in ("Resize", "Detect", "Track", "Draw"):
        count = draws.choice((0, 0, 1, 2, 3))
        if count:
            chosen[name] = tuple(draws.sample(WORKERS, count))
    return chosen


def address(seconds: float, seed: int, *, live: bool = False) -> str:
    """A synthetic street; a live one gives as much as two busy cores can work on."""
    width, height, fps = (256, 144, LIVE_FPS) if live else (320, 180, FPS)
    return (
        f"street://?seconds={seconds:.3f}&width={width}&height={height}&fps={fps}&seed={seed}&people=8"
        f"&live={int(live)}"
    )


# --- a graph on files -------------------------------------------------------------------------------------


def on_files(switches: int, seed: int) -> list[str]:
    """What is wrong with the results of a graph on files that changes all the time."""
    draws = random.Random(seed)
    budgets = [draws.randint(2, 8) for _ in range(switches)]
    frames = sum(budgets) + 10
    cameras = {name: address(frames / FPS, index) for index, name in enumerate((NORTH, SOUTH))}
    late = {name: address(LATE_FRAMES / FPS, 7 + index) for index, name in enumerate(LATE)}
    comings = dict(zip(draws.sample(range(switches), len(late)), late, strict=True))
    print(
        f"{frames} frames of each of {NORTH} and {SOUTH}, {LATE_FRAMES} of {', '.join(LATE)}, which come later"
    )
    before = held()
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        gate = threading.Semaphore(0)
        changing = street(cameras, WIDTHS, Path(folder), gate)
        times = []
        with Run(changing.graph) as run:
            for number, budget in enumerate(budgets):
                gate.release(2 * budget)
                if name := comings.get(number):
                    run.add_camera(name, late[name])
                configuration = Configuration((("width", draws.choice(WIDTHS)),), places(draws))
                whom = draws.choice((None, [NORTH], [SOUTH], [NORTH, SOUTH]))
                begun = time.monotonic()
                run.routes.switch(configuration, whom)
                times.append(time.monotonic() - begun)
                run.routes.close_unused()
            gate.release(10 * frames)
            report = run.wait(600)
            if not run.finished:
                wrong.append("the run does not end")
        print(f"seconds of a switch: {quantiles(times)} s, at load {os.getloadavg()[0]:.1f}")
        for camera, counts in report.cameras.items():
            wrong += unbalanced(camera, counts)
            for sink, at_sink in counts.sinks.items():
                wrong += unbalanced(f"{camera} at {sink}", at_sink)
            expected = LATE_FRAMES if camera in late else frames
            wrong += differences(changing, camera, {**cameras, **late}[camera], expected)
            rows = Path(folder, f"{camera}.jsonl").read_text().count("\n")
            if rows != expected:
                wrong.append(f"{camera}: {rows} lines of JSON for {expected} frames")
    return wrong + leftovers(before)


def unchanged(url: str, camera: str, widths: Sequence[int]) -> Iterator[tuple[Detections, Tracks, str]]:
    """What the operators make of a camera's frames by themselves, each at its width: boxes, tracks, picture."""
    resize = {width: Resize(width) for width in widths}
    detect, track, draw = Detect("street", confidence=0.1), Track(), Draw()
    for step in (detect, track, draw):
        step.setup()
    frames = read_street(camera, StreetView.parse(url), threading.Event(), live=False)
    for (frame, _), width in zip(frames, widths, strict=True):
        small = resize[width].process(frame)
        boxes = detect.process(small)
        tracks = track.process(boxes)
        yield boxes, tracks, seen(draw.process((small, tracks)))


def differences(changing: Street, camera: str, url: str, frames: int) -> list[str]:
    """Where the results of a camera are not those of its frames without any change."""
    sinks = changing.boxes, changing.tracks, changing.pictures
    wrong = [
        f"{camera}: {sink.name} has {len(indices)} frames, lost, repeated or in another order"
        for sink in sinks
        if (indices := sink.indices(camera)) != list(range(frames))
    ]
    if wrong:
        return wrong
    given = zip(*(sink.values(camera) for sink in sinks), strict=True)
    widths = [width for width, _ in changing.pictures.values(camera)]
    others: dict[str, list[int]] = {sink.name: [] for sink in sinks}
    ids: set[int] = set()
    for index, ((boxes, tracks, (_, picture)), alone) in enumerate(
        zip(given, unchanged(url, camera, widths), strict=True)
    ):
        alike = same(boxes, alone[0]), same(tracks, alone[1]), picture == alone[2]
        for sink, is_alike in zip(sinks, alike, strict=True):
            if not is_alike:
                others[sink.name].append(index)
        ids.update(tracks.ids.tolist())
    used = {width: widths.count(width) for width in WIDTHS}
    print(f"{camera}: {frames} frames by width {used}, {len(ids)} identities, others than without: {others}")
    return [
        f"{camera}: {len(indices)} frames of {name} are others than without a change, the first is {indices[0]}"
        for name, indices in others.items()
        if indices
    ]


def seen(frame: Frame) -> str:
    return hashlib.sha256(frame.bgr(frame.width, frame.height).tobytes()).hexdigest()


def same(one: Detections, other: Detections) -> bool:
    """Whether two results are equal in every bit."""
    ids = isinstance(one, Tracks) and isinstance(other, Tracks) and not np.array_equal(one.ids, other.ids)
    return not ids and all(
        np.array_equal(getattr(one, name), getattr(other, name)) for name in ("boxes", "scores", "classes")
    )


# --- a live graph -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Change:
    """One change of a live graph: of what kind, when, how long it took, frames lost around it, the pauses."""

    kind: str
    seconds: float
    lost: int
    pauses: Sequence[float]


def on_live(switches: int, seed: int) -> list[str]:
    """What is wrong with a live graph that changes; prints what the changes cost."""
    draws = random.Random(seed)
    cameras = {name: address(1e6, index, live=True) for index, name in enumerate((NORTH, SOUTH, EAST))}
    before = held()
    graph = street(cameras, WIDTHS[1:])
    changes: list[Change] = []
    with Run(graph.graph) as run:
        time.sleep(3)
        now = Configuration((("width", WIDTHS[1]),), {})
        for number in range(switches):
            kinds = moves(now, draws)
            kind = ALONE if number % 5 == 0 else draws.choice([*kinds, CAMERA])
            following = kinds.get(kind, now)
            change = partial(run.routes.switch, following) if kind in kinds else partial(come_or_go, run)
            changes.append(changed(run, graph, kind, change))
            now = following
        run.stop()
        report = run.wait(30)
    wrong = [line for camera, counts in report.cameras.items() for line in unbalanced(camera, counts)]
    for camera in cameras:
        indices = graph.tracks.indices(camera)
        if indices != sorted(set(indices)):
            wrong.append(f"{camera}: frames were repeated or came in another order")
    wrong += leftovers(before)
    show(changes)
    pauses = [pause for change in changes if change.kind != ALONE for pause in change.pauses]
    if (slow := float(np.quantile(pauses, 0.99))) > LONGEST_PAUSE:
        wrong.append(f"p99 of the pauses is {1000 * slow:.0f} ms beyond the interval")
    return wrong


def come_or_go(run: Run) -> None:
    """Let one more camera come, or go again."""
    if any(name == WEST for _, name in run.cameras()):
        run.remove_camera(WEST)
    else:
        run.add_camera(WEST, address(1e6, 3, live=True))


def moves(now: Configuration, draws: random.Random) -> dict[str, Configuration]:
    """A change of each kind."""
    ((name, width),) = now.setting
    other = next(value for value in WIDTHS[1:] if value != width)
    count = len(now.workers.get("Detect", ()))
    away = draws.choice((("Detect",), ("Detect", "Track"), ("Resize", "Detect")))
    kinds = {
        "knob": Configuration(((name, other),), now.workers),
        "to workers" if not count else "home": Configuration(
            now.setting, {} if count else dict.fromkeys(away, WORKERS[:1])
        ),
    }
    if count:
        more = WORKERS[: 2 if count == 1 else 1]
        kinds["replicas"] = Configuration(now.setting, dict.fromkeys(now.workers, more))
    return kinds


def changed(run: Run, graph: Street, kind: str, change: Callable[[], None]) -> Change:
    """Make a change; its cost is measured from when it is asked for until frames have gone by it a while."""
    lost, begun = losses(run), time.monotonic()
    if kind == ALONE:
        time.sleep(1)
    else:
        change()
    took = time.monotonic() - begun
    time.sleep(0.5)
    run.routes.close_unused()
    time.sleep(0.5)
    pauses = [
        pause(times, begun, time.monotonic())
        for camera, kept in graph.tracks.kept.items()
        if camera != WEST and (times := [at for at, _ in kept])
    ]
    return Change(kind, took, losses(run) - lost, pauses)


def pause(times: Sequence[float], begun: float, ended: float) -> float:
    """The longest time without a result within some time, beyond the interval of the frames."""
    inside = np.array([at for at in times if begun - 0.1 <= at <= ended] + [ended])
    return float(np.diff(inside).max()) - 1 / LIVE_FPS


def losses(run: Run) -> int:
    return sum(sum(camera.dropped.values()) + camera.failed for camera in run.report().cameras.values())


def show(changes: Sequence[Change]) -> None:
    interval = 1000 / LIVE_FPS
    print(f"load {os.getloadavg()[0]:.1f}; pauses are the longest between two results less {interval:.0f} ms")
    print("| change | times | seconds | lost, mean | most | pause p50 ms | p99 ms | longest ms |")
    print("|---|---|---|---|---|---|---|---|")
    for kind in sorted({change.kind for change in changes}):
        alike = [change for change in changes if change.kind == kind]
        pauses = 1000 * np.array([pause for change in alike for pause in change.pauses])
        lost = [change.lost for change in alike]
        seconds = float(np.median([change.seconds for change in alike]))
        half, most = np.quantile(pauses, [0.5, 0.99])
        print(
            f"| {kind} | {len(alike)} | {seconds:.2f} | {np.mean(lost):.1f} | {max(lost)} | {half:.0f} | "
            f"{most:.0f} | {pauses.max():.0f} |"
        )


def warm_up() -> None:
    """Run a graph on a worker once, for what libraries keep for good."""
    graph = street({NORTH: address(1, 0)}, WIDTHS)
    with Run(graph.graph) as run:
        run.routes.switch(Configuration((("width", WIDTHS[0]),), {"Detect": WORKERS[:1]}))
        run.wait()


# --- what must hold always --------------------------------------------------------------------------------


def unbalanced(where: str, counts: CountsReport) -> list[str]:
    """A line where frames are unaccounted for."""
    ended = counts.delivered + counts.filtered + counts.failed + sum(counts.dropped.values())
    if counts.produced == ended and not counts.in_flight:
        return []
    return [f"{where}: {counts.produced} frames were produced, {ended} ended, {counts.in_flight} are in flight"]


@dataclass(frozen=True)
class Held:
    """What this process holds: threads, open descriptors by what they are of, child processes."""

    threads: frozenset[str]
    descriptors: Mapping[str, int]
    children: int


def held() -> Held:
    gc.collect()  # a run is a circle of references, and keeps its memory files until it is collected
    descriptors: Counter[str] = Counter()
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            descriptors[re.sub(r"\d+", "N", os.readlink(entry))] += 1
    children = sum(
        len(task.joinpath("children").read_text().split()) for task in Path("/proc/self/task").iterdir()
    )
    threads = frozenset(thread.name for thread in threading.enumerate())
    return Held(threads, descriptors, children)


def leftovers(before: Held) -> list[str]:
    """What is held now and was not before."""
    deadline = time.monotonic() + 2
    while (now := held()) != before and time.monotonic() < deadline:
        time.sleep(0.1)
    left = []
    if more := now.threads - before.threads:
        left.append(f"threads are left: {', '.join(sorted(more))}")
    more_open = {
        what: count - before.descriptors.get(what, 0)
        for what, count in now.descriptors.items()
        if count > before.descriptors.get(what, 0)
    }
    if more_open:
        left.append(f"descriptors are left open: {more_open}")
    if now.children > before.children:
        left.append(f"{now.children} child processes are left, {before.children} were there before")
    return left


def quantiles(values: Sequence[float]) -> str:
    half, most = np.quantile(values, [0.5, 0.99])
    return f"p50 {half:.2f}, p99 {most:.2f}, longest {max(values):.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=["file", "live"], metavar="file|live")
    parser.add_argument("--switches", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
    sys.setswitchinterval(0.0005)  # as the command does
    wrong: list[str] = []
    warm_up()
    for part in options.parts:
        wrong += (found := {"file": on_files, "live": on_live}[part](options.switches, options.seed))
        for line in found:
            print(f"WRONG: {line}", flush=True)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
