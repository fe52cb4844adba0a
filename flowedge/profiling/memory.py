"""The memory that a step adds to its process: what it allocates when it is set up, and to work.

Read from the kernel as `RssAnon` (anonymous resident memory: the heap and private arrays) before a copy of the
step is set up, and after each of the few frames that it works on, whose results are thrown away; the highest
reading counts. Before the first one garbage is collected and freed heap given back to the system, as far as
glibc can, so that a step does not live in what another has left.

Left out are code of libraries and mapped files (weights, where an engine maps them), which the processes of a
machine share; memory of a GPU; and what is allocated and given back to the system within one frame. What a
library allocates once for a process, such as OpenVINO's runtime, counts for every step of the class that needs
it first, as if such a step were alone in its process; steps of another class that need the same library have
it for nothing. Readings differ by some hundred KiB from run to run.
"""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

_STATUS = Path("/proc/self/status")


def anonymous_bytes() -> int:
    """Anonymous resident memory of this process, in bytes; 0 where the system does not say.

    >>> anonymous_bytes() >= 0
    True
    """
    with suppress(OSError):
        for line in _STATUS.read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    return 0


def settled_bytes() -> int:
    """As `anonymous_bytes`, when garbage has been collected and freed heap given back to the system."""
    gc.collect()
    with suppress(OSError, AttributeError):  # glibc has it, other C libraries may not
        ctypes.CDLL(None).malloc_trim(0)
    return anonymous_bytes()


@dataclass
class MemoryMeter:
    """What steps add to this process, and what of it the first step of a class leaves to the others."""

    shared: dict[type, int] = field(default_factory=dict)

    def added(self, step: type, rehearse: Callable[[], int]) -> int:
        """Bytes that a step of this class adds, as if it were alone in its process.

        `rehearse` sets up a copy of the step, lets it work and closes it, and returns the highest
        `anonymous_bytes` it saw; called twice for the first step of a class.
        """
        alone = _risen(rehearse)
        if step not in self.shared:
            self.shared[step] = max(0, alone - _risen(rehearse))
            return alone
        return alone + self.shared[step]


def _risen(rehearse: Callable[[], int]) -> int:
    before = settled_bytes()
    return max(0, rehearse() - before)
