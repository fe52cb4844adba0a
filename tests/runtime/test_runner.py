"""A step whose copies work elsewhere: what it waits for, and when its copies are closed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from queue import Queue
from typing import Any

from flowedge import Event
from flowedge.plane.item import End, Item
from flowedge.runtime.failures import Failures
from flowedge.runtime.steps import OperatorRunner
from flowedge.runtime.workers.chain import Answer
from tests.runtime.fake_steps import SECONDS, Apply, event, nothing, passed


class Elsewhere:
    """Copies on workers, as the test wants them: it answers and flushes when it likes."""

    def __init__(self) -> None:
        self.sent: Queue[Item] = Queue()
        self.ending: Queue[Callable[[], None]] = Queue()
        self.answer: Callable[[Item, Answer], None] = nothing

    def at(self, answer: Callable[[Item, Answer], None]) -> Elsewhere:
        self.answer = answer
        return self

    def send(self, item: Item) -> bool:
        self.sent.put(item)
        return True

    def end(self, camera: str, ended: Callable[[], None]) -> None:
        self.ending.put(ended)

    def close(self) -> None:
        pass


def runner_of(step: Any) -> tuple[OperatorRunner, Queue[Item | End]]:
    failures = Failures(max_share=1.0, judged_after=20, on_fatal=nothing, on_failing=nothing)
    runner: OperatorRunner = OperatorRunner(step, failures=failures, shed=False, clock=time.monotonic)
    gone: Queue[Item | End] = Queue()
    runner.outlet.lead_to(gone.put)
    return runner, gone


def item_of(value: Event, route: int = 0) -> Item:
    return Item(value.origin.frame_id, value, live=False, route=route)


def test_a_camera_that_ends_does_not_keep_the_answers_for_others_waiting():
    """The worker says first what became of the south's frame, and then that the north is flushed."""
    elsewhere, step = Elsewhere(), Apply(passed)
    runner, gone = runner_of(step)
    runner.prepare(1, step, ("w1",), host=elsewhere.at)
    runner.start()
    north, south = item_of(event("north", 0), route=1), item_of(event("south", 0), route=1)
    for item in (north, south, End("north")):
        runner.inbox.put(item)
    assert [elsewhere.sent.get(timeout=SECONDS) for _ in range(2)] == [north, south]
    elsewhere.answer(north, Answer(north.value))
    flushed = elsewhere.ending.get(timeout=SECONDS)

    hears = threading.Thread(target=elsewhere.answer, args=(south, Answer(south.value)), daemon=True)
    hears.start()
    assert [gone.get(timeout=SECONDS) for _ in range(2)] == [north, south]
    hears.join(SECONDS)
    flushed()
    assert gone.get(timeout=SECONDS) == End("north")
    runner.inbox.close()
    runner.thread.join(SECONDS)
    assert not runner.thread.is_alive()
