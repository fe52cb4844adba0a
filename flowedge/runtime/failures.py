"""What goes wrong in a run, and when it is too much: whether the run ends is decided here and nowhere else."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from flowedge.errors import RunError, UserError

log = logging.getLogger("flowedge.run")

CAUSES_KEPT = 100
"""Different messages that are counted: some name the frame, and would grow without end."""


@dataclass
class Tally:
    """How often a step was given a value of one camera, and how often it failed, by cause."""

    count: int = 0
    failed: int = 0
    causes: Counter[str] = field(default_factory=Counter)

    def add_failure(self, error: Exception) -> None:
        """Count a failure; `count` has the value already."""
        cause = described(error)
        self.failed += 1
        if len(self.causes) < CAUSES_KEPT or cause in self.causes:
            self.causes[cause] += 1


class Failures:
    """The errors of a run: the one that ends it, and those of single cameras.

    `max_share` (0..1) of an operator's values may fail; it is judged once it has seen `judged_after` of them,
    and at the end. `on_fatal` is called, in the thread that failed, when something must end the run. All
    methods are thread-safe.
    """

    def __init__(self, *, max_share: float, judged_after: int, on_fatal: Callable[[], None]) -> None:
        self._max_share = max_share
        self._judged_after = judged_after
        self._on_fatal = on_fatal
        self._lock = threading.Lock()
        self._error: Exception | None = None
        self._cameras: dict[str, Exception | None] = {}

    @property
    def error(self) -> Exception | None:
        """What ended the run: the first of the errors that did."""
        return self._error

    def of_camera(self, camera: str) -> Exception | None:
        """Why the camera failed; None where it did not."""
        return self._cameras.get(camera)

    def end_run(self, error: Exception) -> None:
        """End the run because of this error."""
        with self._lock:
            self._error = self._error or error
        self._on_fatal()

    def camera_opened(self, camera: str) -> None:
        """A camera begins, or begins anew: what went wrong with it before is forgotten."""
        with self._lock:
            self._cameras[camera] = None

    def camera_failed(self, camera: str, error: Exception) -> None:
        """A camera's stream broke off: the run goes on while there is one that did not fail."""
        if not isinstance(error, UserError):
            log.error("%s failed", camera, exc_info=error)
            error = RunError(f"{camera}: {described(error)}")
        with self._lock:
            self._cameras[camera] = error
            all_failed = all(self._cameras.values())
        if all_failed:
            self.end_run(error)
        else:
            log.error("%s", error)

    def judge(self, operator: str, tallies: Iterable[Tally], *, final: bool = False) -> None:
        """Raise `UserError` where too large a share of what an operator was given failed.

        `tallies` has what it did for every camera. `final`: it will see no more, so few values are enough.
        """
        tallies = list(tallies)
        count, failed = sum(tally.count for tally in tallies), sum(tally.failed for tally in tallies)
        if count < (1 if final else self._judged_after) or failed <= self._max_share * count:
            return
        cause, _ = sum((tally.causes for tally in tallies), Counter[str]()).most_common(1)[0]
        raise UserError(
            f"{operator} failed on {failed} of {count} frames (the limit is {self._max_share:.0%}): {cause}"
        )


def described(error: BaseException) -> str:
    """The kind of an error and its message."""
    return f"{type(error).__name__}: {error}"
