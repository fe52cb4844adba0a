"""Processes of a run that are killed, or told to stop, at random moments: is anything lost, repeated or left?

    python -m tools.worker_faults [files] [live] [storm] [home] [signals] [--times 50] [--seed 0]

`files` and `live` kill workers (at work, during a switch, while they are set up; the spare one too): the
counts must balance, frames of files come once and with the detections that they have without; live ones lose
what was in flight at most, and have results again within a second after the death is noticed. `storm` kills
them as fast as they come back: every item must be answered once. `home` kills the process of `flowedge run`
itself, in which the node is: no worker, socket or half-written line may be left. `signals` asks it to end
during switches: it must end with 143 or 130 within the time for draining. Ends with 1 where something is wrong.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from flowedge import Absent, Detections, Frame, Graph, Operator, Origin, Tracks, UserError, choose, join
from flowedge.operators import Detect, Draw, JSONLines, MOTFile, Null, Resize, Track, video
from flowedge.plane import topics
from flowedge.plane.item import Item
from flowedge.runtime.limits import Limits
from flowedge.runtime.routes import Configuration
from flowedge.runtime.run import Run
from flowedge.runtime.workers.chain import Answer
from flowedge.runtime.workers.life import Patience
from flowedge.runtime.workers.node import Node
from flowedge.runtime.workers.replicas import Replicas
from flowedge.testing import frames
from flowedge.values import FrameId
from tools.switching import (
    FPS,
    LIVE_FPS,
    NORTH,
    SOUTH,
    WIDTHS,
    Street,
    address,
    held,
    leftovers,
    losses,
    places,
    quantiles,
    same,
    street,
    unbalanced,
    unchanged,
    warm_up,
)

FRAMES_A_KILL = 8
RECOVERED = 1.0  # seconds from the notice of a death to the result of a frame that came after it
LIFE_SECONDS = 3.0  # the longest that a command is left alone
GRAPH = """
import os, pathlib
from tools.worker_faults import to_files
graph = to_files(pathlib.Path(os.environ["FOLDER"]))
"""
SETTINGS = [(("width", width),) for width in WIDTHS[1:]]


def workers_of(pid: int) -> list[int]:
    """The workers that a process has started, the spare one too."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += [int(child) for child in task.read_text().split() if is_worker(int(child))]
    return found


def is_worker(pid: int) -> bool:
    try:
        return b"flowedge.runtime.workers.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


# --- workers ----------------------------------------------------------------------------------------------


def on_files(times: int, draws: random.Random) -> list[str]:
    """Kill workers of a graph on files."""
    frames = FRAMES_A_KILL * (times + 2)
    cameras = {name: address(frames / FPS, index) for index, name in enumerate((NORTH, SOUTH))}
    gate, before = threading.Semaphore(0), held()
    graph = street(cameras, WIDTHS, gate=gate)
    kills: Counter[str] = Counter()
    wrong: list[str] = []
    with Run(graph.graph) as run:
        run.routes.switch(Configuration((("width", WIDTHS[0]),), {"Detect": ("w1", "w2"), "Track": ("w2",)}))
        for _ in range(times):
            gate.release(2 * FRAMES_A_KILL)
            kind = draws.choice(("at work", "in a switch", "in its start"))
            kills[kind] += 1
            with switching(run, draws, wrong) if kind == "in a switch" else contextlib.nullcontext():
                time.sleep(draws.uniform(0, 0.3))
                kill_one(draws)
            if kind == "in its start":
                time.sleep(draws.uniform(0, 0.3))
                kill_one(draws)
            run.routes.close_unused()
        gate.release(10 * frames)
        report = run.wait(300)
        if not run.finished:
            wrong.append(f"the run has not finished: {report.cameras}")
    print(f"files: {dict(kills)} kills, load {os.getloadavg()[0]:.1f}")
    for camera, counts in report.cameras.items():
        wrong += unbalanced(camera, counts) + differing(graph, camera, cameras[camera], frames, counts.failures)
    return wrong + leftovers(before)


@contextlib.contextmanager
def switching(run: Run, draws: random.Random, wrong: list[str]) -> Iterator[None]:
    """Change the configuration in another thread meanwhile."""
    wanted = Configuration((("width", draws.choice(WIDTHS)),), places(draws))

    def switch() -> None:
        try:
            run.routes.switch(wanted)
        except UserError as error:
            wrong.append(f"a switch failed: {error}")

    thread = threading.Thread(target=switch)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def kill_one(draws: random.Random) -> bool:
    """Kill a worker of this process; False where there is none."""
    workers = workers_of(os.getpid())
    if workers:
        with contextlib.suppress(ProcessLookupError):
            os.kill(draws.choice(workers), signal.SIGKILL)
    return bool(workers)


def differing(graph: Street, camera: str, url: str, frames: int, failures: dict[str, int]) -> list[str]:
    """Where a camera's frames are not each there once with its own detections; prints what became of tracks."""
    indices = graph.boxes.indices(camera)
    if len(indices) + sum(failures.values()) != frames or indices != sorted(set(indices)):
        return [f"{camera}: {len(indices)} of {frames} frames have boxes, failures: {failures}"]
    if failures:
        return [f"{camera}: frames failed: {failures}"]
    widths = [width for width, _ in graph.pictures.values(camera)]
    wrong, kept, all_pairs = [], 0, 0
    last: Tracks | None = None
    for index, (boxes, _, _) in enumerate(unchanged(url, camera, widths)):
        if not same(boxes, graph.boxes.values(camera)[index]):
            wrong.append(f"{camera}: frame {index} has other detections than without a kill")
        tracks = graph.tracks.values(camera)[index]
        if len(set(tracks.ids.tolist())) < len(tracks):
            wrong.append(f"{camera}: frame {index} has an identity twice")
        if last is not None:
            here, there = continued(last, tracks)
            kept, all_pairs = kept + here, all_pairs + there
        last = tracks
    print(
        f"{camera}: {kept / max(1, all_pairs):.2%} of {all_pairs} objects kept their identity to the next frame"
    )
    return wrong


def continued(before: Tracks, after: Tracks) -> tuple[int, int]:
    """How many objects of a frame are in the next one with the same identity, and how many by their boxes."""
    same_ids = pairs = 0
    for box, identity in zip(before.boxes, before.ids, strict=True):
        if not len(after):
            break
        overlap = iou(box, after.boxes)
        best = int(overlap.argmax())
        if overlap[best] > 0.7:
            pairs += 1
            same_ids += int(after.ids[best]) == int(identity)
    return same_ids, pairs


def iou(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    corner, end = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    common = np.clip(end - corner, 0, None).prod(axis=1)
    area = (box[2:] - box[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(axis=1)
    return common / np.maximum(area - common, 1e-9)


class Notices(logging.Handler):
    """When this process noticed that a worker was gone, and how many frames old the states are that go on."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.noticed: dict[int, float] = {}
        self.ages: list[int] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if gone := re.search(r"\(process (\d+)\) was killed", text):
            self.noticed[int(gone[1])] = time.monotonic()
        self.ages += map(int, re.findall(r"is (\d+) frames old", text))

    @contextlib.contextmanager
    def listening(self) -> Iterator[Self]:
        logger = logging.getLogger("flowedge")
        logger.setLevel(logging.WARNING)
        logger.addHandler(self)
        try:
            yield self
        finally:
            logger.removeHandler(self)
            logger.setLevel(logging.NOTSET)


def on_live(times: int, draws: random.Random) -> list[str]:
    """Kill the worker of a live graph, or the spare one, again and again; prints how long results stay away."""
    cameras = {name: address(1e6, index, live=True) for index, name in enumerate((NORTH, SOUTH))}
    before = held()
    graph = street(cameras, WIDTHS[1:])
    wrong: list[str] = []
    killed: list[tuple[str, int, float, int]] = []  # which, its process, when, frames lost until the next
    with Notices().listening() as notices, Run(graph.graph) as run:
        run.routes.switch(Configuration((("width", WIDTHS[1]),), {"Detect": ("w1",), "Track": ("w1",)}))
        node = run._hosting._nodes[""]
        time.sleep(3)
        for _ in range(times):
            at_first, working = losses(run), node.pid("w1")
            victim = draws.choice(workers_of(os.getpid()))
            begun = time.monotonic()
            os.kill(victim, signal.SIGKILL)
            time.sleep(draws.uniform(2, 4))
            if not come_back(graph):
                wrong.append("live: results stay away")
                break
            which = "worker" if victim == working else "spare"
            killed.append((which, victim, begun, losses(run) - at_first))
        run.stop()
        report = run.wait(30)
    for camera, counts in report.cameras.items():
        wrong += unbalanced(camera, counts)
        print(f"{camera}: {counts.produced} produced, dropped {counts.dropped}, failed {counts.failures}")
    print(f"live: load {os.getloadavg()[0]:.1f}; {LIVE_FPS} frames/s of each of {len(cameras)} cameras")
    for which in ("worker", "spare"):
        kills = [(pid, at) for kind, pid, at, _ in killed if kind == which]
        noticed = [notices.noticed[pid] - at for pid, at in kills]
        again = [
            max(back(kept, notices.noticed[pid]) for kept in graph.tracks.kept.values()) for pid, _ in kills
        ]
        lost = [count for kind, *_, count in killed if kind == which]
        if kills:
            print(f"live: {len(kills)} times the {which}: seconds to notice: {quantiles(noticed)}")
            print(f"live: seconds from there to the result of a newer frame: {quantiles(again)}")
            print(f"live: frames lost, of all cameras: {quantiles(lost)}, together {sum(lost)}")
            if max(again) > RECOVERED:
                wrong.append(f"live: results stayed away for {max(again):.2f} s after a {which} was killed")
    print(f"live: states that went on were {quantiles(notices.ages)} frames old")
    return wrong + leftovers(before)


def come_back(graph: Street) -> bool:
    """Wait until every camera has results again; False where that takes too long."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if all(kept[-1][0] > time.monotonic() - 0.5 for kept in graph.tracks.kept.values()):
            return True
        time.sleep(0.1)
    return False


def back(kept: Sequence[tuple[float, tuple[int, Tracks]]], noticed: float) -> float:
    """Seconds until the result of the first frame that a camera took after this moment."""
    came = (at for at, (_, value) in kept if value.origin.monotonic > noticed)
    return next(came, float("inf")) - noticed


class Asked:
    """Copies of a chain on workers that are sent one item after the other, and what they answer."""

    def __init__(self, node: Node, chain: Sequence[Operator[Any, Any]], item_at: Callable[[int], Any]) -> None:
        self.name = chain[0].name
        self.sent = 0
        self.answers: Counter[FrameId] = Counter()
        self.causes: Counter[str] = Counter()
        self.errors: list[UserError] = []
        self._item_at = item_at
        self._over = threading.Event()
        self.copies = Replicas(
            lambda _: node, chain, ("w1", "w2"), on_answer=self._note, on_error=self.errors.append
        )
        self.copies.start()
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._thread.start()

    def _note(self, item: Item, answer: Answer) -> None:
        self.answers[item.frame] += 1
        if isinstance(answer.result, (Absent, Exception)):
            self.causes[getattr(answer.result, "cause", "") or repr(answer.result)] += 1

    def _ask(self) -> None:
        while not self._over.is_set():
            value = self._item_at(self.sent)
            if not self.copies.send(Item(value.origin.frame_id, value, live=False)):
                return
            self.sent += 1

    def faults(self) -> list[str]:
        """What is wrong once no more is sent."""
        self._over.set()
        self._thread.join(20)
        deadline = time.monotonic() + 20
        while len(self.answers) < self.sent and time.monotonic() < deadline:
            time.sleep(0.05)
        wrong = [f"{self.name}: {error}" for error in self.errors]
        if self._thread.is_alive() or len(self.answers) < self.sent:
            wrong.append(f"{self.name}: {len(self.answers)} of {self.sent} items were answered")
        if twice := sum(count > 1 for count in self.answers.values()):
            wrong.append(f"{self.name}: {twice} items were answered twice")
        print(f"storm: {self.name}: {self.sent} items, {self.copies.deaths} deaths, {dict(self.causes)}")
        self.copies.close(at_once=True)
        return wrong


def on_storm(times: int, draws: random.Random) -> list[str]:
    """Kill workers as fast as they come back; a frame is given up only where it had two of them die."""
    pictures = frames(1, 320, 180)
    boxes = np.array([[10, 10, 30, 60], [100, 20, 130, 90]], np.float32)

    def picture(index: int) -> Frame:
        return replace(pictures[0], origin=Origin(f"camera{index % 3}", index=index, width=320, height=180))

    def seen(index: int) -> Detections:
        origin = Origin(f"camera{index % 3}", index=index, media=index / FPS, width=320, height=180)
        return Detections(origin, boxes, [0.9, 0.8], [0, 0], ("person",))

    before, wrong = held(), []
    with Node(patience=Patience(deaths=sys.maxsize, pause=0)) as node:
        for name in ("w1", "w2"):
            node.start(name)
        asked = [
            Asked(node, [Resize(160), Resize(80, name="Smaller")], picture),
            Asked(node, [Track()], seen),
        ]
        for _ in range(times):
            kill_one(draws)
            time.sleep(draws.choice((0, 0.05, 0.3, 1, 2)))  # also while it starts, and while it works
        for one in asked:
            wrong += one.faults()
    return wrong + leftovers(before)


# --- the process of the command ---------------------------------------------------------------------------


def on_home(times: int, draws: random.Random) -> list[str]:
    """Kill `flowedge run` itself."""
    wrong: list[str] = []
    for number in range(times):
        with command() as (process, folder):
            begins(folder / "log")
            time.sleep(draws.uniform(0, LIFE_SECONDS))
            workers = workers_of(process.pid)
            process.kill()
            process.wait()
            wrong += [f"home {number}: {line}" for line in remains(workers, process.pid, folder)]
            print(f"home {number}: {len(workers)} workers, {sizes(folder)}", flush=True)
    return wrong


def on_signals(times: int, draws: random.Random) -> list[str]:
    """Tell `flowedge run` to end."""
    wrong: list[str] = []
    took: list[float] = []
    for number in range(times):
        with command() as (process, folder):
            begins(folder / "log")
            time.sleep(draws.uniform(0, LIFE_SECONDS))
            told = draws.choice((signal.SIGTERM, signal.SIGINT))
            workers = workers_of(process.pid)
            begun = time.monotonic()
            process.send_signal(told)
            try:
                status = process.wait(3 * Limits().drain_seconds)
            except subprocess.TimeoutExpired:
                status = None
                process.kill()
                process.wait()
            took.append(time.monotonic() - begun)
            if status != 128 + told:
                wrong.append(f"{told.name} {number}: ended with {status} after {took[-1]:.1f} s")
            if took[-1] > Limits().drain_seconds:
                wrong.append(f"{told.name} {number}: took {took[-1]:.1f} s")
            wrong += [f"{told.name} {number}: {line}" for line in remains(workers, process.pid, folder)]
            report = folder / "report.json"
            if report.exists():
                for camera, counts in json.loads(report.read_text())["cameras"].items():
                    ended = sum(counts[key] for key in ("delivered", "filtered", "failed"))
                    if counts["produced"] != ended + sum(counts["dropped"].values()) or counts["in_flight"]:
                        wrong.append(f"{told.name} {number}: {camera} does not balance: {counts}")
    print(f"signals: seconds until the end: {quantiles(took)}, load {os.getloadavg()[0]:.1f}")
    return wrong


def begins(log: Path) -> None:
    """Wait until a command says that its graph runs: before, it is loading Python's modules."""
    deadline = time.monotonic() + 60
    while b"running killed" not in log.read_bytes() and time.monotonic() < deadline:
        time.sleep(0.02)


@contextlib.contextmanager
def command() -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """`flowedge run` on a live graph that changes all the time, in a folder of its own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with open(folder / "log", "wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "tools.worker_faults", "--command", name], stdout=log, stderr=log
            )
            try:
                yield process, folder
            finally:
                process.kill()
                process.wait()


def run_command(folder: Path) -> None:
    """Be `flowedge run`, with changes at random in the place of the controller."""
    from flowedge import cli

    vars(cli.run)["_adapting"] = changing
    (folder / "graph.py").write_text(GRAPH)
    os.environ["FOLDER"] = str(folder)
    sys.argv = ["flowedge", "run", str(folder / "graph.py"), "--report", str(folder / "report.json")]
    cli.main()


@contextlib.contextmanager
def changing(running: Run, *_: object) -> Iterator[None]:
    ended, draws = threading.Event(), random.Random(os.getpid())

    def change() -> None:
        while not ended.is_set():
            with contextlib.suppress(UserError):
                running.routes.switch(Configuration(draws.choice(SETTINGS), places(draws)))

    thread = threading.Thread(target=change)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def to_files(folder: Path) -> Graph:
    """The graph of the command."""
    graph = Graph("killed")
    cameras = {name: address(1e6, index, live=True) for index, name in enumerate((NORTH, SOUTH))}
    small = video(graph, cameras) >> Resize(choose("width", *WIDTHS[1:]))
    tracks = small >> Detect("street", confidence=0.1) >> Track()
    tracks >> JSONLines(str(folder / "{camera}.jsonl"))
    tracks >> MOTFile(str(folder / "{camera}.txt"))
    join(small, tracks) >> Draw() >> Null()
    return graph


def remains(workers: Sequence[int], home: int, folder: Path) -> list[str]:
    """What a process has left behind a second after it was gone."""
    deadline = time.monotonic() + 1
    while (alive := [pid for pid in workers if is_worker(pid)]) and time.monotonic() < deadline:
        time.sleep(0.02)
    left = [f"worker {pid} lives" for pid in alive]
    topics.running()  # what the next command does
    place = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()) / f"flowedge-{os.getuid()}"
    left += [
        f"{path.name} is left"
        for path in place.iterdir()
        if str(home) in path.name.replace("-", ".").split(".")
    ]
    for path in folder.glob("*.jsonl"):
        left += [
            f"{path.name}: half a line is left" for line in path.read_text().splitlines() if not is_json(line)
        ]
    for path in folder.glob("*.txt"):
        text = path.read_text()
        left += [f"{path.name}: half a line is left"] if text and not text.endswith("\n") else []
    return left


def is_json(line: str) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def sizes(folder: Path) -> str:
    return ", ".join(f"{path.name} {path.stat().st_size}" for path in sorted(folder.iterdir()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    everything = ["files", "live", "storm", "home", "signals"]
    parser.add_argument("parts", nargs="*", default=everything, metavar="files|live|storm|home|signals")
    parser.add_argument("--times", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--command", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.command:
        run_command(options.command)
        return
    logging.basicConfig(level=logging.ERROR, format="%(name)s: %(message)s")
    sys.setswitchinterval(0.0005)  # as the command does
    parts = {"files": on_files, "live": on_live, "storm": on_storm, "home": on_home, "signals": on_signals}
    wrong: list[str] = []
    warm_up()
    for part in options.parts:
        wrong += (found := parts[part](options.times, random.Random(options.seed)))
        for line in found:
            print(f"WRONG: {line}", flush=True)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
