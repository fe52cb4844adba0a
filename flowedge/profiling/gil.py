"""How much of the time Python's global lock (the GIL) is taken, as a thread that wakes up finds it.

A thread that waits leaves the processor once, of its own accord. If the lock is taken when it wakes up, it has
to leave it once more, to wait for that. The kernel counts both (`ru_nvcsw`), and does not count time for which
other programs had the processor: on a machine that is busy with them, waking up late is no sign of the lock,
while this is. A share of random moments is the share of the time.

Of 100 looks, 10 ms apart, on two cores that other programs were busy with: one or two threads of pure Python
1.00 and 1.00, one of many small NumPy calls 1.00, large products in NumPy by one or two threads 0.02 and 0.02,
OpenCV's filters 0.00 and 0.02, nothing 0.00.
"""

from __future__ import annotations

import resource
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

PAUSE_SECONDS = 0.001
"""Between two looks at an operator that works alone."""

SWITCH_SECONDS = 0.0005
"""How long it may keep the lock from who looks."""


class LockProbe:
    """Looks whether the lock is taken; all `look` calls belong to one thread.

    >>> probe = LockProbe()
    >>> for _ in range(3):
    ...     probe.look(time.sleep, 0.001)
    >>> 0 <= probe.share() <= 1
    True
    """

    def __init__(self) -> None:
        self._looks = self._taken = 0

    def look(self, wait: Callable[[float], object], seconds: float) -> None:
        """Wait for some time with `wait`, and note whether the lock was taken at its end."""
        before = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw
        wait(seconds)
        after = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw
        self._looks += 1
        self._taken += after - before > 1

    def share(self) -> float:
        """The share (0..1) of the looks since this was asked last at which it was taken; 0 without any."""
        looks, taken = self._looks, self._taken
        self._looks = self._taken = 0
        return taken / looks if looks else 0.0


@contextmanager
def probing() -> Iterator[LockProbe]:
    """Look every millisecond while the calling thread works.

    Threads change hands sooner meanwhile than is usual, so that there are many looks at what holds the lock.
    """
    probe, stop = LockProbe(), threading.Event()

    def watch() -> None:
        while not stop.is_set():
            probe.look(time.sleep, PAUSE_SECONDS)

    usual = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_SECONDS)
    thread = threading.Thread(target=watch, name="flowedge-gil", daemon=True)
    thread.start()
    try:
        yield probe
    finally:
        stop.set()
        thread.join()
        sys.setswitchinterval(usual)
