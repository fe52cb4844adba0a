"""One step of a running graph: a thread, its inbox, and where its results go."""

from __future__ import annotations

import copy
import logging
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from flowedge.errors import RunError, UserError
from flowedge.monitor.histogram import Histogram
from flowedge.plane.item import End, Item, Receiver
from flowedge.plane.mailbox import Mailbox
from flowedge.runtime.ledger import Ledger
from flowedge.values import Outcome

log = logging.getLogger("flowedge.run")

JUDGED_AFTER = 20
"""Frames that an operator must have seen before its share of failures may end the run."""


@dataclass
class Metrics:
    """What one step has done: values taken, the time each waited and took, failures, partial results."""

    count: int = 0
    failed: int = 0
    partial: int = 0
    service: Histogram = field(default_factory=Histogram)
    wait: Histogram = field(default_factory=Histogram)
    causes: Counter[str] = field(default_factory=Counter)


class Outlet:
    """Where a step's results go: the inboxes behind it, and a tap when somebody listens."""

    def __init__(self) -> None:
        self._receivers: list[Receiver] = []
        self.tap: Callable[[Any], None] | None = None

    def lead_to(self, receiver: Receiver) -> None:
        self._receivers.append(receiver)

    def emit(self, item: Item | End) -> None:
        for receive in self._receivers:
            receive(item)
        if self.tap is not None and isinstance(item, Item) and item.is_value:
            self.tap(item.value)


class Runner(ABC):
    """Runs a copy of a step in a thread of its own until its inbox is closed and empty.

    `on_fatal` is called with what must end the run: a `UserError`, too large a share of failures, a step that
    cannot be set up.
    """

    def __init__(
        self,
        step: Any,
        ledger: Ledger,
        *,
        shed: bool,
        max_failures: float,
        on_fatal: Callable[[Exception], None],
    ) -> None:
        self.step = copy.deepcopy(step)
        self.inbox = Mailbox(step.name, shed=self._pass_on if shed else None)
        self.outlet = Outlet()
        self.metrics = Metrics()
        self.ready = threading.Event()
        self._on_fatal = on_fatal
        self._ledger = ledger
        self._max_failures = max_failures
        self._error: UserError | None = None
        self.thread = threading.Thread(target=self._run, name=f"flowedge-{step.name}", daemon=True)

    @property
    def name(self) -> str:
        return str(self.step.name)

    def start(self) -> None:
        self.thread.start()

    def check_failures(self, least: int = 1) -> None:
        """Raise `UserError` when more than the allowed share of at least `least` values failed."""
        metrics = self.metrics
        if metrics.count >= least and metrics.failed > self._max_failures * metrics.count:
            cause, _ = metrics.causes.most_common(1)[0]
            raise UserError(
                f"{self.name} failed on {metrics.failed} of {metrics.count} frames "
                f"(the limit is {self._max_failures:.0%}): {cause}"
            )

    def _run(self) -> None:
        self._attempt(self.step.setup)
        self.ready.set()
        while True:
            taken = self.inbox.take(self._most(), self._patience())
            if not taken and self.inbox.finished:
                break
            self._attempt(self._handle_all, taken)
            if self.metrics.failed and self._error is None:
                self._attempt(self.check_failures, JUDGED_AFTER)
        self._close()

    def _attempt(self, work: Callable[..., object], *arguments: Any) -> None:
        """Do what the run cannot do without: an error ends the run, but not this thread."""
        try:
            work(*arguments)
        except BaseException as error:
            self._give_up(error)

    def _give_up(self, error: BaseException) -> UserError:
        """End the run; values that still come are passed on as failed, so that nobody waits for them."""
        if not isinstance(error, UserError):
            log.error("%s stopped", self.name, exc_info=error)
            error = RunError(f"{self.name}: {type(error).__name__}: {error}")
        self._error = self._error or error
        self._on_fatal(error)
        return self._error

    def _close(self) -> None:
        try:
            self.step.close()
        except Exception:
            log.exception("%s: closing failed", self.name)

    def _handle_all(self, taken: Sequence[tuple[Item | End, float]]) -> None:
        """Serve the values, together if there are several, and keep what lay between them in its place."""
        values: list[Item] = []
        for item, waited in taken:
            if isinstance(item, Item) and item.is_value:
                self.metrics.wait.add(waited)
                values.append(item)
        results = iter(self._results(values) if values else ())
        for item, _ in taken:
            if isinstance(item, Item) and item.is_value:
                self._deliver(item, next(results))
            else:
                self._pass_on(item)

    def _results(self, items: Sequence[Item]) -> Sequence[Any]:
        """What the step makes of the values; an exception stands in for the result it prevented."""
        if self._error:
            return [self._error] * len(items)
        begun = time.perf_counter()
        try:
            results: Sequence[Any] = self._call([item.value for item in items])
        except UserError as error:
            return [self._give_up(error)] * len(items)
        except Exception as error:
            results = [error] if len(items) == 1 else [self._alone(item) for item in items]
        except BaseException as error:  # SystemExit, a panic of a library written in Rust
            return [self._give_up(error)] * len(items)
        spent = (time.perf_counter() - begun) / len(items)
        for result in results:
            self.metrics.service.add(spent)
            self.metrics.count += 1
            if isinstance(result, Exception):
                self._note(result)
        return results

    def _alone(self, item: Item) -> Any:
        """One value of a batch that failed as a whole: only the one that fails alone is lost."""
        try:
            return self._call([item.value])[0]
        except Exception as error:
            return error

    def _note(self, error: Exception) -> None:
        cause = f"{type(error).__name__}: {error}"
        if not self.metrics.failed:
            log.error("%s failed: %s (further failures are counted)", self.name, cause, exc_info=error)
        self.metrics.failed += 1
        if len(self.metrics.causes) < 100 or cause in self.metrics.causes:
            self.metrics.causes[cause] += 1

    def _failed(self, item: Item, error: Exception) -> Item:
        cause = "operator stopped" if error is self._error else type(error).__name__
        return item.absent(Outcome.FAILED, cause, self.name)

    def _most(self) -> int:
        return 1

    def _patience(self) -> float | None:
        """How long to wait for the next item before `_handle_all` is called with none."""
        return None

    @abstractmethod
    def _call(self, values: list[Any]) -> Sequence[Any]:
        """Let the step work on the values: one result each."""

    @abstractmethod
    def _deliver(self, item: Item, result: Any) -> None:
        """Send a result, or the exception in its place, on its way."""

    def _pass_on(self, item: Item | End) -> None:
        """An `Absent` or the end of a stream."""
        self.outlet.emit(item)
