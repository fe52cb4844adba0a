"""Whether Python's global lock is taken, as a thread that wakes up finds it."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable

from flowedge.profiling.gil import LockProbe, probing

MEBIBYTE = bytes(1 << 20)


def share_beside(work: Callable[[], object] | None) -> float:
    """What a probe finds while a thread does this again and again."""
    stop, begun = threading.Event(), threading.Event()

    def again() -> None:
        while not stop.is_set():
            if work:
                work()
            begun.set()

    thread = threading.Thread(target=again)
    if work:
        thread.start()
        begun.wait()
    probe = LockProbe()
    for _ in range(40):
        probe.look(time.sleep, 0.002)
    stop.set()
    if work:
        thread.join()
    return probe.share()


def test_pure_python_takes_it_all_the_time():
    assert share_beside(lambda: sum(range(1000))) > 0.8


def test_what_releases_it_while_it_works_hardly_takes_it():
    assert share_beside(lambda: hashlib.sha256(MEBIBYTE)) < 0.4


def test_nobody_takes_it_in_an_idle_process():
    assert share_beside(None) < 0.3


def test_a_share_is_of_the_looks_since_the_last_question():
    probe = LockProbe()
    assert probe.share() == 0.0
    probe.look(time.sleep, 0.001)
    probe.share()
    assert probe.share() == 0.0


def test_work_is_probed_while_it_goes_on():
    with probing() as probe:
        end = time.thread_time() + 0.1
        while time.thread_time() < end:
            sum(range(100))
        assert probe.share() > 0.8
