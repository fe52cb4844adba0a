import copy
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest

from flowedge import Frame, Operator, SourceError
from flowedge.testing import Collect, ListSource, frames, run_operator


@dataclass
class Delay(Operator[Frame, Frame]):
    """Gives every frame one step late, and none that is marked."""

    delayed = True
    held: dict[str, Frame] = field(init=False, default_factory=dict)
    log: list[str] = field(init=False, default_factory=list)

    def setup(self) -> None:
        self.log.append("setup")

    def process(self, frame: Frame, /) -> Frame | None:
        assert self.log == ["setup"]
        late = self.held.get(frame.origin.camera)
        self.held[frame.origin.camera] = frame
        return late

    def flush(self, camera: str) -> Iterable[Frame]:
        return [self.held.pop(camera)]


def test_run_operator_flushes_each_camera_and_leaves_the_operator_alone() -> None:
    operator = Delay()
    results = run_operator(operator, frames(2, 8, 8, "a") + frames(2, 8, 8, "b"))
    assert [frame.origin.key for frame in results] == [("a", 0), ("b", 0), ("a", 1), ("b", 1)]
    assert (operator.held, operator.log) == ({}, [])


def test_frames_have_consistent_origins() -> None:
    made = frames(3, 64, 48, "north", fps=10)
    assert [frame.origin.key for frame in made] == [("north", 0), ("north", 1), ("north", 2)]
    assert [frame.origin.media for frame in made] == [0, 0.1, 0.2]
    assert made[1].origin.time - made[0].origin.time == pytest.approx(0.1)
    assert (made[0].image != made[1].image).any()
    assert made[0].region == (0, 0, 64, 48)


def test_a_source_gives_each_camera_its_values() -> None:
    source = copy.deepcopy(ListSource(frames(2, 8, 8, "a") + frames(3, 8, 8, "b")))
    assert list(source.cameras) == ["a", "b"]
    assert len(list(source.read("b", threading.Event()))) == 3
    assert not source.live("a")
    assert ListSource(frames(1, 8, 8), as_live=True).live("camera")


def test_a_source_fails_on_cue() -> None:
    reading = ListSource(frames(5, 8, 8), fail_after=2).read("camera", threading.Event())
    assert [next(reading).origin.index, next(reading).origin.index] == [0, 1]
    with pytest.raises(SourceError, match="after 2 values"):
        next(reading)


def test_a_source_pauses_on_cue_and_stops_while_paused() -> None:
    pause, stop, got = threading.Event(), threading.Event(), Collect[Frame]()
    reading = ListSource(frames(5, 8, 8), pause=pause).read("camera", stop)
    got.write(next(reading))
    pause.set()
    reader = threading.Thread(target=lambda: [got.write(frame) for frame in reading])
    reader.start()
    reader.join(0.05)
    assert reader.is_alive()
    assert len(got.values) == 1
    stop.set()
    reader.join(60)
    assert not reader.is_alive()
    assert len(got.values) == 1


def test_a_pause_ends() -> None:
    pause = threading.Event()
    pause.set()
    threading.Timer(0.05, pause.clear).start()
    assert len(list(ListSource(frames(5, 8, 8), pause=pause).read("camera", threading.Event()))) == 5


def test_copies_of_collect_share_what_they_got() -> None:
    sink = Collect[str]()
    copies = [copy.deepcopy(sink) for _ in range(4)]
    threads = [threading.Thread(target=lambda s=s: [s.write("x") for _ in range(500)]) for s in copies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(sink.values) == 2000
