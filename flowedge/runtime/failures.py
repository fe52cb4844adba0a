"""What goes wrong in a run, and when it is too much: whether a camera fails or the run ends is decided here."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from flowedge.errors import RunError, UserError, described

log = logging.getLogger("flowedge.run")

CAUSES_KEPT = 100
"""Different messages that are counted: some name the frame, and would grow without end."""

RECENT = 64
"""Values of a live camera after which those before count half: what was long ago says little of it now."""


@dataclass
class Tally:
    """How often a step was given a value of one camera, and how often it failed, by cause.

    `recent` and `recent_failed` count alike, with less weight for what is long ago.
    """

    count: int = 0
    failed: int = 0
    causes: Counter[str] = field(default_factory=Counter)
    recent: int = 0
    recent_failed: int = 0

    def add(self, error: Exception | None = None) -> None:
        """Count a value, and the failure on it if there was one."""
        self.count += 1
        self.recent += 1
        if error is None:
            return
        while self.recent > RECENT:
            self.recent //= 2
            self.recent_failed //= 2
        cause = described(error)
        self.failed += 1
        self.recent_failed += 1
        if len(self.causes) < CAUSES_KEPT or cause in self.causes:
            self.causes[cause] += 1

    def begin_anew(self) -> None:
        """Forget what is recent: the camera is attached again."""
        self.recent = self.recent_failed = 0


@dataclass
class _Camera:
    """What is wrong with a camera; `hopeless` where waiting for it to become well makes no sense.

    Values of sessions before `judged_from` count no more: they were on their way when it began to fail.
    """

    error: UserError | None = None
    hopeless: bool = False
    operator: str = ""
    judged_from: int = 0


class Failures:
    """The errors of a run: the one that ends it, and those of single cameras.

    `max_share` (0..1) of a camera's values may fail in an operator; it is judged once that has seen
    `judged_after` of them, and at the end. Of a live camera, the recent ones count. A camera on which an
    operator fails is *failing*: `on_failing` is called with its name. The run ends when no camera is left that
    does not fail: `on_fatal` is called then, in the thread that failed. All methods are thread-safe.
    """

    def __init__(
        self,
        *,
        max_share: float,
        judged_after: int,
        on_fatal: Callable[[], None],
        on_failing: Callable[[str], None],
    ) -> None:
        self._max_share = max_share
        self._judged_after = judged_after
        self._on_fatal = on_fatal
        self._on_failing = on_failing
        self._lock = threading.Lock()
        self._error: UserError | None = None
        self._cameras: dict[str, _Camera] = {}

    @property
    def error(self) -> Exception | None:
        """What ended the run: the first of the errors that did."""
        return self._error

    def of_camera(self, camera: str) -> Exception | None:
        """Why the camera fails, or failed; None where it does not."""
        state = self._cameras.get(camera)
        return state.error if state else None

    def end_run(self, error: UserError) -> None:
        """End the run because of this error."""
        with self._lock:
            self._error = self._error or error
        self._on_fatal()

    def camera_opened(self, camera: str) -> None:
        """A camera begins, or begins anew: what went wrong with it before is forgotten."""
        with self._lock:
            self._cameras[camera] = _Camera()

    def camera_failed(self, camera: str, error: Exception) -> None:
        """A camera's stream broke off: the run goes on while there is one that did not fail."""
        if not isinstance(error, UserError):
            log.error("%s failed", camera, exc_info=error)
            error = RunError(f"{camera}: {described(error)}")
        self._fail(camera, _Camera(error, hopeless=True))

    def camera_never_came(self, camera: str, reason: str) -> None:
        """The run ends before a live camera gave anything."""
        with self._lock:
            state = self._cameras.setdefault(camera, _Camera())
            why = f": {reason.removeprefix(f'{camera}: ')}" if reason else ""
            state.error = state.error or RunError(f"{camera} was never attached{why}")

    def judge(self, operator: str, camera: str, tally: Tally, *, live: bool, session: int = 0) -> None:
        """Call a camera failing where an operator fails on too many of its values, or well again.

        `session` is that of the value which the operator was given last. One thread may call this for a tally.
        """
        state = self._cameras.setdefault(camera, _Camera())
        if session < state.judged_from:
            return
        count, failed = (tally.recent, tally.recent_failed) if live else (tally.count, tally.failed)
        if count < self._judged_after:
            return
        if failed > self._max_share * count:
            if not live and state.error:  # it has been stopped, and these were on their way
                return
            error = self._verdict(operator, camera, tally, count, failed)
            hopeless = not live or failed == count
            tally.begin_anew()
            self._fail(camera, _Camera(error, hopeless, operator, session + 1))
            self._on_failing(camera)
        elif state.error and state.operator == operator:
            with self._lock:
                self._cameras[camera] = _Camera(judged_from=state.judged_from)
            log.warning("%s works again in %s", camera, operator)

    def judge_finally(self, operator: str, camera: str, tally: Tally) -> None:
        """Judge a camera that has ended, where an operator saw too few of its values to be judged before."""
        few = 0 < tally.count < self._judged_after
        if not few or tally.failed <= self._max_share * tally.count or self.of_camera(camera):
            return
        error = self._verdict(operator, camera, tally, tally.count, tally.failed)
        self._fail(camera, _Camera(error, hopeless=True, operator=operator))

    def _verdict(self, operator: str, camera: str, tally: Tally, count: int, failed: int) -> RunError:
        cause, _ = tally.causes.most_common(1)[0]
        return RunError(
            f"{operator} failed on {failed} of {count} frames of {camera} "
            f"(the limit is {self._max_share:.0%}): {cause}"
        )

    def _fail(self, camera: str, state: _Camera) -> None:
        assert state.error is not None
        with self._lock:
            before = self._cameras.get(camera)
            self._cameras[camera] = state
            none_left = all(other.hopeless for other in self._cameras.values())
        if none_left:
            self.end_run(state.error)
        else:
            said = before is not None and before.error is not None
            log.log(logging.DEBUG if said else logging.ERROR, "%s", state.error)
