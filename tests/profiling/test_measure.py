"""Measuring a graph's operators: whatever graphs may do, and what is counted."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from flowedge import Detections, Frame, Gather, Graph, Operator, Sink, Split, UserError, choose, join
from flowedge.operators import Null, Quality, Resize, street, video
from flowedge.planner.model.profiles import setting
from flowedge.profiling.fitting import Measurement, StepTime
from flowedge.profiling.measure import WARM, Recorded, measure, measured
from flowedge.profiling.trials import Trial

VIEW = "street://?width=160&height=120&people=2&vehicles=1&seconds=4&fps=5"


@dataclass
class Find(Operator[Frame, Detections]):
    """Finds the whole picture, and calls `nap` meanwhile."""

    nap: Callable[[], object] = tuple

    def process(self, frame: Frame, /) -> Detections:
        self.nap()
        return Detections(frame.origin, [frame.region], [0.9], [0], ("person",))


@dataclass
class Halves(Split[Frame, Frame]):
    def split(self, frame: Frame, /) -> Sequence[Frame]:
        x1, y1, x2, y2 = frame.region
        middle = (x1 + x2) // 2
        return [frame.crop((x1, y1, middle, y2)), frame.crop((middle, y1, x2, y2))]


@dataclass
class Together(Gather[Detections, Detections]):
    def gather(self, parts: Sequence[Detections], /) -> Detections:
        assert len(parts) == 2
        return parts[0]


@dataclass
class Late(Operator[Frame, Frame]):
    """Gives each frame two frames later, as a decoder does."""

    delayed = True
    held: list[Frame] = field(default_factory=list, init=False)

    def process(self, frame: Frame, /) -> Frame | None:
        self.held.append(frame)
        return self.held.pop(0) if len(self.held) > 2 else None

    def flush(self, camera: str) -> Sequence[Frame]:
        return self.held


@dataclass
class Even(Operator[Frame, Frame]):
    """Lets every second frame pass."""

    def process(self, frame: Frame, /) -> Frame | None:
        return frame if frame.origin.index % 2 == 0 else None


@dataclass
class Odd(Operator[Frame, Frame]):
    """Fails on all frames, or on every second one."""

    always: bool = False

    def process(self, frame: Frame, /) -> Frame:
        if self.always or frame.origin.index % 4 == 3:
            raise RuntimeError("no such luck")
        return frame


@dataclass
class Same(Sink[tuple[Frame, Detections]]):
    """Checks that pairs belong together."""

    def write(self, pair: tuple[Frame, Detections], /) -> None:
        assert pair[0].origin.index == pair[1].origin.index


@dataclass
class Scribble(Sink[Frame]):
    """Writes a file into the folder it is in."""

    def write(self, frame: Frame, /) -> None:
        Path("scribble.txt").write_text("here")


def times(found: Measurement) -> dict[str, StepTime]:
    return {step.operator: step for step in found.times}


def test_a_frames_time_is_that_of_all_its_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]

    def nap() -> None:
        now[0] += 0.004

    graph = Graph("tiles")
    video(graph, VIEW) >> Halves() >> Find(nap) >> Together() >> Null()
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    found = times(measure(graph, (), 1, 8))
    assert found["Find"].seconds == pytest.approx(0.008)
    assert found["Find"].frames == 8 - WARM
    assert found["Find"].pixels == 160 * 120


def test_results_that_come_late_find_their_frames() -> None:
    graph = Graph("late")
    frames = video(graph, VIEW) >> Late()
    join(frames, frames >> Find()) >> Same()
    assert times(measure(graph, (), 1, 8))["Same"].frames == 8 - WARM


def test_what_is_filtered_or_fails_goes_no_further() -> None:
    graph = Graph("less")
    frames = video(graph, VIEW)
    frames >> Even() >> Null()
    frames >> Odd() >> Null(name="Rest")
    found = times(measure(graph, (), 1, 12))
    assert (found["Null"].frames, found["Rest"].frames) == (6 - WARM, 9 - WARM)


def test_an_operator_that_always_fails_is_named() -> None:
    graph = Graph("broken")
    video(graph, VIEW) >> Odd(always=True) >> Null()
    with pytest.raises(UserError, match="Odd: RuntimeError: no such luck"):
        measure(graph, (), 1, 8)


def test_too_few_frames_are_named() -> None:
    graph = Graph("short")
    video(graph, VIEW + "&seconds=0.4") >> Null()
    with pytest.raises(UserError, match="camera gave 2 frames"):
        measure(graph, (), 1, 8)


def test_a_setting_is_given_to_every_step_that_has_its_knob() -> None:
    graph = Graph("sized")
    video(graph, VIEW) >> Resize(choose("width", 80, 160)) >> Find() >> Null()
    recorded: Recorded = []
    small, large = (measure(graph, setting(width=width), 1, 8, recorded) for width in (80, 160))
    assert times(small)["Find"].pixels * 4 == times(large)["Find"].pixels == 160 * 120
    assert times(small)["Resize"].pixels == 160 * 120 + 80 * 60
    assert len(recorded) == 1


def test_bytes_are_those_of_the_wire_and_fall_with_quality_and_size() -> None:
    graph = Graph("sizes")
    video(graph, VIEW) >> Find() >> Null()
    sent = [each for each in measure(graph, (), 1, 8).bytes if each.operator == "Decode"]
    (raw,) = (each for each in sent if each.quality is None)
    assert raw.bytes > 160 * 120 * 1.5
    by = {(each.quality, each.pixels): each.bytes for each in sent if each.quality is not None}
    assert by[30, 19200.0] < by[80, 19200.0] < raw.bytes
    assert by[80, 4800.0] < by[80, 19200.0]


def test_accuracy_is_measured_where_the_truth_is_known() -> None:
    graph = Graph("judged")
    frames, truth = street(graph, VIEW)
    join(truth, truth) >> Quality()
    frames >> Null()
    accuracy = measure(graph, (), 1, 8).accuracy
    assert accuracy is not None
    assert (accuracy.value, accuracy.source) == (1.0, "measured: correctly tracked")


def test_sinks_leave_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    graph = Graph("scribbling")
    video(graph, VIEW) >> Scribble()
    assert times(measure(graph, (), 1, 8))["Scribble"].seconds > 0
    assert not list(tmp_path.iterdir())
    assert Path.cwd() == tmp_path


TINY = f"""
import os
from dataclasses import dataclass
from flowedge import Frame, Graph, Operator
from flowedge.operators import Null, video

@dataclass
class Count(Operator[Frame, Frame]):
    def process(self, frame: Frame, /) -> Frame:
        assert len(os.sched_getaffinity(0)) == 1, "not alone on one core"
        return frame

graph = Graph("tiny")
video(graph, "{VIEW}") >> Count() >> Null()
"""


def test_the_child_has_no_more_cores_than_it_is_to_have(tmp_path: Path) -> None:
    path = tmp_path / "tiny.py"
    path.write_text(TINY)
    (found,) = measured([Trial(str(path), (), ())], 1, 8)
    assert found.cores == 1
    assert np.isfinite(times(found)["Count"].seconds)


def test_a_mistake_in_the_child_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.py: there is no such file"):
        list(measured([Trial(str(tmp_path / "nowhere.py"), (), ())], 1, 8))
