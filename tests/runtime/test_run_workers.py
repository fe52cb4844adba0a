"""A graph whose operators work in other processes: the same results, whatever dies, and nothing is left."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from flowedge import ConfigError, Event, Graph, choose, join
from flowedge.errors import RunError
from flowedge.runtime.limits import Limits
from flowedge.runtime.routes import Configuration, first_setting
from flowedge.runtime.run import Run
from tests.runtime.fake_steps import SECONDS, Collect, Play, index_of, wait_until
from tests.runtime.worker_steps import Burn, Count, Obey, Pick, SlowToBegin, command


@dataclass
class Told(Obey):
    """`Obey` with a setting."""

    number: int = 1

    def process(self, value: Event, /) -> Event | None:
        given = super().process(value)
        if not isinstance(given, Event):
            return given
        return Event(given.origin, given.kind, {**given.data, self.name: self.number})


def player(values: list[Event], *, gate: threading.Semaphore | None = None) -> Any:
    def play(camera: str, stop: threading.Event) -> Iterator[Event]:
        for value in values:
            while gate is not None and not gate.acquire(timeout=0.05):
                if stop.is_set():
                    return
            yield value

    return play


def graph_of(play: Any, *, live: bool = False) -> tuple[Graph, list[Event]]:
    graph, came = Graph("far"), []
    number = choose("number", 1, 2)
    stream = graph.source(Play({"north": ""}, play=play, as_live=live)) >> Told(number=number, name="first")
    stream >> Told(number=number, name="second") >> Collect(came.append)
    return graph, came


def on(graph: Graph, *names: str, workers: tuple[str, ...] = ("w1", "w2")) -> Configuration:
    return Configuration(first_setting(graph), dict.fromkeys(names, workers))


def test_a_chain_on_two_workers_gives_every_frame_once_and_in_order():
    gate = threading.Semaphore(0)
    graph, came = graph_of(player([command(index) for index in range(60)], gate=gate))
    with Run(graph) as run:
        run.routes.switch(on(graph, "first", "second"))
        gate.release(60)
        report = run.wait(SECONDS)
    assert [index_of(value) for value in came] == list(range(60))
    assert all(len(set(value.data["pids"])) == 1 and os.getpid() not in value.data["pids"] for value in came)
    assert len({value.data["pids"] for value in came}) == 2
    assert {name: report.operators[name].count for name in ("first", "second")} == {"first": 60, "second": 60}
    assert report.cameras["north"].delivered == 60


def test_what_a_step_does_with_a_value_is_counted_as_at_home():
    gate = threading.Semaphore(0)
    kinds = ["pass", "raise", "filter", "absent", "wrong", "pass", "pass", "pass", "pass", "pass"]
    graph, came = graph_of(player([command(index, do) for index, do in enumerate(kinds)], gate=gate))
    with Run(graph) as run:
        run.routes.switch(on(graph, "first"))
        gate.release(len(kinds))
        counts = run.wait(SECONDS).cameras["north"]
    assert [index_of(value) for value in came] == [0, 5, 6, 7, 8, 9]
    assert (counts.delivered, counts.filtered, counts.failed) == (6, 1, 2)
    assert counts.failures == {"LookupError at first": 1, "TypeError at first": 1}
    assert counts.dropped == {"on purpose at first": 1}


def test_frames_of_a_file_survive_their_worker(tmp_path: Any):
    begun, released, gate = tmp_path / "begun", tmp_path / "released", threading.Semaphore(0)
    os.mkfifo(begun)
    values = [command(index) for index in range(20)]
    values[7] = command(7, "hang", begun=str(begun), released=str(released))
    graph, came = graph_of(player(values, gate=gate))
    with Run(graph) as run:
        run.routes.switch(on(graph, "first"))
        gate.release(20)
        pid = int(begun.read_text())
        released.touch()
        os.kill(pid, 9)
        counts = run.wait(SECONDS).cameras["north"]
    assert [index_of(value) for value in came] == list(range(20))
    assert counts.delivered == 20


def test_settings_and_workers_change_at_random_and_nothing_is_lost_or_repeated():
    gate, draws = threading.Semaphore(0), random.Random(2)
    graph, came = graph_of(player([command(index) for index in range(200)], gate=gate))
    places = [{}, {"first": ("w1",)}, {"second": ("w1", "w2")}, {"first": ("w2",), "second": ("w2",)}]
    with Run(graph) as run:
        for _ in range(20):
            gate.release(10)
            setting = (("number", draws.choice((1, 2))),)
            run.routes.switch(Configuration(setting, draws.choice(places)))
        counts = run.wait(SECONDS).cameras["north"]
    assert [index_of(value) for value in came] == list(range(200))
    assert counts.delivered == 200
    assert all(value.data["first"] == value.data["second"] for value in came)


def test_frames_of_a_chain_do_not_overtake_those_before_them(monkeypatch: pytest.MonkeyPatch):
    gate, entered, hold, home = threading.Semaphore(0), threading.Event(), threading.Event(), os.getpid()
    graph, came = graph_of(player([command(index) for index in range(12)], gate=gate))
    process = Told.process

    def held(step: Told, value: Event, /) -> Event | None:
        if step.name == "second" and os.getpid() == home:
            entered.set()
            hold.wait(SECONDS)
        return process(step, value)

    monkeypatch.setattr(Told, "process", held)
    with Run(graph) as run:
        gate.release(3)
        assert entered.wait(SECONDS)
        run.routes.switch(on(graph, "first", "second", workers=("w1",)))
        gate.release(9)
        threading.Timer(0.3, hold.set).start()
        run.wait(SECONDS)
    assert [index_of(value) for value in came] == list(range(12))


def test_what_a_chain_does_on_workers_does_not_overtake_what_waits_here():
    gate, came = threading.Semaphore(0), []
    graph = Graph("far")
    stream = graph.source(Play({"north": ""}, play=player([command(index) for index in range(20)], gate=gate)))
    stream >> Burn(0.0, name="first") >> Burn(0.05, name="second") >> Collect(came.append)
    with Run(graph) as run:
        run.routes.switch(on(graph, "first", "second"))
        run.routes.switch(on(graph))
        gate.release(10)
        wait_until(lambda: run.report().operators["first"].count == 10)
        run.routes.switch(on(graph, "first", "second"))
        gate.release(10)
        counts = run.wait(SECONDS).cameras["north"]
    assert [index_of(value) for value in came] == list(range(20))
    assert counts.delivered == 20
    assert came[0].data["second"] == os.getpid() != came[-1].data["second"]


def test_a_step_that_cannot_be_set_up_on_a_worker_is_told_of():
    graph = Graph("refusing")
    gate = threading.Semaphore(0)
    stream = graph.source(Play({"north": ""}, play=player([command(0)], gate=gate)))
    stream >> Obey(setup_error=choose("error", "", "user")) >> Collect()
    with Run(graph) as run:
        with pytest.raises(ConfigError, match="user is not a good value"):
            run.routes.switch(Configuration((("error", "user"),), {"Obey": ("w1",)}))
        gate.release(1)
        assert run.wait(SECONDS).cameras["north"].delivered == 1


def test_a_sink_cannot_work_on_a_worker():
    gate = threading.Semaphore(0)
    graph, _ = graph_of(player([command(0)], gate=gate))
    with Run(graph) as run:
        with pytest.raises(ConfigError, match="Collect: it can work only in the process"):
            run.routes.switch(on(graph, "Collect"))
        gate.release(1)
        run.wait(SECONDS)


def test_state_goes_on_between_home_and_workers():
    gate = threading.Semaphore(0)
    graph, came = Graph("moving"), []
    played = player([command(index) for index in range(40)], gate=gate)
    graph.source(Play({"north": ""}, play=played)) >> Count() >> Collect(came.append)
    with Run(graph) as run:
        for workers in [(), ("w1",), ("w2",), ()] * 2:
            run.routes.switch(on(graph, "Count", workers=workers) if workers else on(graph))
            gate.release(5)
        report = run.wait(SECONDS)
    assert report.cameras["north"].delivered == 40
    assert [value.data["count"] for value in came] == list(range(1, 41))


def test_cameras_end_while_others_have_frames_at_the_same_worker():
    gate = threading.Semaphore(0)
    frames = {f"camera{number}": 3 * number for number in range(1, 7)}

    def play(camera: str, stop: threading.Event) -> Iterator[Event]:
        assert gate.acquire(timeout=SECONDS)
        for index in range(frames[camera]):
            yield command(index, camera=camera)

    graph, came = Graph("ending"), []
    graph.source(Play(dict.fromkeys(frames, ""), play=play)) >> Count() >> Collect(came.append)
    with Run(graph) as run:
        run.routes.switch(on(graph, "Count", workers=("w1",)))
        gate.release(len(frames))
        report = run.wait(SECONDS)
    assert {name: camera.delivered for name, camera in report.cameras.items()} == frames


def test_a_run_that_is_stopped_does_not_wait_for_workers_that_begin(tmp_path: Any):
    begun, gate, refused = tmp_path / "begun", threading.Semaphore(0), []
    graph = Graph("slow")
    stream = graph.source(Play({"north": ""}, play=player([command(0)], gate=gate)))
    stream >> SlowToBegin(begun=choose("begun", "", str(begun))) >> Collect()

    def switch(run: Run) -> None:
        with pytest.raises(RunError, match="the run ends") as error:
            run.routes.switch(Configuration((("begun", str(begun)),), {"SlowToBegin": ("w1",)}))
        refused.append(error.value)

    with Run(graph) as run:
        switching = threading.Thread(target=switch, args=(run,))
        switching.start()
        wait_until(begun.exists)
        run.stop()
        switching.join(SECONDS)
        assert refused
        assert run.stopping


GUARDLESS = """
from dataclasses import dataclass
from flowedge import Frame, Graph, Operator, Run, UserError
from flowedge.operators import Null, video
from flowedge.runtime.routes import Configuration, first_setting

@dataclass
class Same(Operator[Frame, Frame]):
    def process(self, frame: Frame, /) -> Frame:
        return frame

graph = Graph("guardless")
video(graph, "street://?width=160&height=120&fps=25&seconds=0.4") >> Same() >> Null()
with Run(graph) as run:
    try:
        run.routes.switch(Configuration(first_setting(graph), {"Same": ("w1",)}))
    except UserError as error:
        print(error)
    print(run.wait().cameras["camera"].delivered)
"""


def test_a_script_that_runs_its_graph_without_a_guard_is_told_of_and_runs_in_one_process(tmp_path: Path):
    script = tmp_path / "guardless.py"
    script.write_text(GUARDLESS)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60, check=True)
    sentence, delivered = done.stdout.splitlines()
    assert sentence.startswith(f"{script}: runs its graph while it is loaded")
    assert delivered == "10"


def test_live_frames_in_a_region_do_not_wait_for_a_worker_that_hangs(tmp_path: Any):
    begun, released = tmp_path / "begun", tmp_path / "released"
    gate, now, came = threading.Semaphore(0), [100.0], []
    hang = command(1, "hang", begun=str(begun), released=str(released))
    values = [command(0), hang, *(command(index) for index in range(2, 6))]
    graph = Graph("region")
    stream = graph.source(Play({"north": ""}, play=player(values, gate=gate), as_live=True))
    join(stream >> Obey(name="away"), stream >> Obey(name="here")) >> Pick() >> Collect(came.append)
    with Run(graph, clock=lambda: now[0]) as run:
        run.routes.switch(on(graph, "away", workers=("w1",)))
        gate.release(2)
        wait_until(begun.exists)
        assert run.report().operators["away"].stuck is None
        now[0] += Limits().region_seconds
        wait_until(lambda: (run._watch.look(), run.report().cameras["north"].in_flight == 0)[1])
        assert run.report().cameras["north"].dropped == {"stuck at away": 1}
        released.touch()
        gate.release(4)
        wait_until(lambda: came and index_of(came[-1]) == 5)
        report = run.wait(SECONDS)
    assert index_of(came[0]) == 0
    assert 1 not in map(index_of, came)
    counts = report.cameras["north"]
    assert counts.produced == 6 == counts.delivered + sum(counts.dropped.values())
