"""One step of a running graph: a thread, its inbox, and where its results go."""

from __future__ import annotations

import contextlib
import copy
import itertools
import logging
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from flowedge.errors import RunError, UserError, described
from flowedge.graph.signature import Accepted, readable, signature
from flowedge.plane.clock import Clock
from flowedge.plane.deadline import Deadline
from flowedge.plane.item import End, Item, Receiver
from flowedge.plane.mailbox import Mailbox
from flowedge.runtime.copies import Copies, Copy, Remote
from flowedge.runtime.failures import Failures, Tally
from flowedge.runtime.metrics import Metrics
from flowedge.runtime.workers.chain import Answer
from flowedge.runtime.works import Work, Works
from flowedge.values import Absent, FrameId, Outcome

log = logging.getLogger("flowedge.run")

_PASSED = object()
"""Stands for a value that a step on a worker gave to the next one there."""


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
        tap = self.tap  # read once: another thread may take it away
        if tap is not None and isinstance(item, Item) and item.is_value:
            tap(item.value)


class Passage(End):
    """Goes behind the values of a camera to the step `at`, where `reached` is called; it ends nothing."""

    at: str
    reached: Callable[[], None]

    @classmethod
    def to(cls, at: str, camera: str, reached: Callable[[], None]) -> Passage:
        passage = cls(camera)
        passage.at, passage.reached = at, reached
        return passage


class Inbox(Protocol):
    """What a runner reads from; `Mailbox` says what the methods do."""

    def put(self, item: Item | End) -> None: ...

    def take(self, most: int) -> list[tuple[Item | End, float]]: ...

    def poll(self, most: int) -> list[tuple[Item | End, float]]: ...

    def close(self) -> None: ...


class Runner(ABC):
    """Runs a copy of a step in a thread of its own until its inbox is closed and empty.

    A plan may `prepare` further copies for the frames of other routes, here or on workers, and `retire` them.
    With `shed`, live values give way to newer ones before it, and where they would miss the `deadline`;
    without, as in a region, `relieve` gives up those that wait for a step that hangs. `failures` is told what
    must end the run: a `UserError`, too large a share of failures, a step that cannot be set up.
    """

    def __init__(
        self,
        step: Any,
        *,
        failures: Failures,
        shed: bool,
        clock: Clock,
        deadline: Deadline | None = None,
    ) -> None:
        self._copies = Copies(step)
        self.step = self._copies.current.step
        self._clock = clock
        self._gives = signature(step).gives
        self._fits = Accepted(self._gives)
        self._usual = self._fits.classes
        self._answers_later = getattr(step, "delayed", False)
        self._busy: tuple[FrameId | str, float] | None = None  # with what, and since when
        self._in_hand: list[Item | End | None] = []  # what was taken; None once it has been passed on
        self._put_off: deque[tuple[Item | End, float]] = deque()  # what `relieve` took and had to keep
        self._works: Works | None = None  # once there are workers: they finish in any order
        self._skips: dict[str, tuple[tuple[Any, Any], ...]] = {}  # the steps that values of a camera leave out
        self._turn = threading.Lock()  # held by `relieve`, for which a step that works again waits
        self._shed = shed
        self._deadline = deadline
        self.inbox = self._new_inbox(shed=shed, clock=clock)
        self.outlet = Outlet()
        self.metrics = Metrics()
        self.ready = threading.Event()
        self._failures = failures
        self._has_failed = False
        self._error: UserError | None = None
        self.thread = threading.Thread(target=self._run, name=f"flowedge-{step.name}", daemon=True)

    @property
    def name(self) -> str:
        return str(self.step.name)

    def start(self) -> None:
        self.thread.start()

    def prepare(
        self,
        route: int,
        step: Any,
        workers: tuple[str, ...] = (),
        then: tuple[tuple[Runner, Any], ...] = (),
        host: Callable[[Callable[[Item, Answer], None]], Remote] | None = None,
    ) -> None:
        """Set up a copy of the step for the frames of a route, unless one of those at work is like it.

        `host` puts it on the `workers`, with the steps that follow `then`, each with its runner; without any
        workers it works here. Returns when it is ready; raises what its setup raises. Called by the thread that
        makes plans.
        """
        new = self._copies.like(step, workers, then)
        if new is None and host is not None:
            self._works = self._works or Works(self._clock)
            new = Copy(step, workers, step, host(self._answered), then)
        elif new is None:
            new = Copy(step, workers, copy.deepcopy(step))
            try:
                new.step.setup()
            except BaseException:
                with contextlib.suppress(Exception):  # that it could not be set up says more
                    new.step.close()
                raise
        self._copies.add(route, new)

    def pass_by(self, route: int) -> None:
        """No value of a route comes here: the step works for them in the chain of another."""
        self._copies.pass_by(route)

    def checkpoint(self) -> None:
        """Release the step until it is prepared again for every route, and keep what it knows of cameras.

        Called while no frame moves. Where a snapshot cannot be had, or the step hangs, it stays as it is.
        """
        if self.busy_for()[0] > 0:
            return
        try:
            self._copies.checkpoint()
        except Exception as error:
            log.warning("%s could not be released: %s", self.name, described(error))
        self.step = self._copies.current.step

    def resume(self) -> None:
        """The step has been prepared for every route after a `checkpoint`."""
        self.step = self._copies.current.step

    def retire(self, route: int) -> None:
        """Let go of what only the frames of a route needed: none of them is in the graph."""
        self._copies.remove(route)

    def take_unused(self) -> list[Copy]:
        """The retired copies that neither work nor keep the state of a camera, to be closed by who asks."""
        return self._copies.take_unused()

    def judge_finally(self) -> None:
        """Tell `failures` how the step did on each camera; it will see no more."""
        for camera, tally in list(self.metrics.tallies.items()):
            self._failures.judge_finally(self.name, camera, tally)

    def busy_for(self) -> tuple[float, str]:
        """How many seconds the step has been working on what it works on now, and what that is."""
        longest = self._longest()
        if longest is None:
            return 0.0, ""
        work, since = longest
        return self._clock() - since, work if isinstance(work, str) else f"frame {work.index} of {work.camera}"

    def hangs(self, after: float) -> bool:
        """Whether it has worked on a frame for `after` seconds, and three times as long as on any before.

        The first one may be that for which it loads, and the end of a stream may take as long as it needs.
        """
        busy, slowest = self._longest(), self.metrics.service.quantile(1.0)
        if busy is None or isinstance(busy[0], str) or slowest is None:
            return False
        return self._clock() - busy[1] >= max(after, 3 * slowest)

    def _longest(self) -> tuple[FrameId | str, float] | None:
        """What has been worked on longest, here or by workers, and since when."""
        busy = self._busy
        first = self._works.longest if self._works else None
        return busy if first is None or (busy and busy[1] < first.since) else (first.item.frame, first.since)

    def relieve(self, after: float) -> None:
        """Give up the live frames that wait for a step which has worked on one value for `after` seconds.

        They are dropped as "stuck" here, the one being worked on too, whose result is ignored when it comes,
        and so are those that workers have had so long. Were they to wait, the gate of the region would let no
        other in, and what is paired with them would wait too. Frames of files and the ends of streams stay
        with the step.
        """
        with self._turn:
            if self._shed:
                return
            before = self._clock() - after
            try:
                if self._works is not None:
                    self._give_up_overdue(self._works, before)
                if self._busy is not None and self._busy[1] <= before:
                    self._give_up_live()
            except BaseException as error:
                self._give_up(error)

    def _give_up_overdue(self, works: Works, before: float) -> None:
        for work in works.take_overdue(before):
            self._go_on(works, work, self._stuck(work.item))

    def _go_on(self, works: Works, work: Work, item: Item) -> None:
        works.go_on(work, lambda: self._pass_on(item))

    def _give_up_live(self) -> None:
        for index, item in enumerate(self._in_hand):
            if isinstance(item, Item) and item.live:
                self._in_hand[index] = None
                self.outlet.emit(self._stuck(item))
        for item, waited in self.inbox.poll(sys.maxsize):
            if isinstance(item, Item) and item.live:
                self.outlet.emit(self._stuck(item))
            else:
                self._put_off.append((item, waited))

    def _stuck(self, item: Item) -> Item:
        return item.absent(Outcome.DROPPED, "stuck", self.name) if item.is_value else item

    def _run(self) -> None:
        self._attempt(self.step.setup, work_of="its setup")
        self.ready.set()
        while taken := self._taken():
            self._attempt(self._handle_all, taken)
        if self._works is not None:
            self._busy = "its workers", self._clock()
            self._works.wait()
        self._close()

    def _taken(self) -> list[tuple[Item | End, float]]:
        if self._put_off:
            return [self._put_off.popleft()]
        return self.inbox.take(self._most() if self._works is None else 1)

    def _attempt(self, work: Callable[..., object], *arguments: Any, work_of: str | None = None) -> None:
        """Do what the run cannot do without: an error ends the run, but not this thread."""
        if work_of:
            self._busy = work_of, self._clock()
        try:
            work(*arguments)
        except BaseException as error:
            self._give_up(error)
        finally:
            self._rest()

    def _rest(self) -> None:
        """The step works on nothing now: nobody else passes on what comes to it."""
        if self._busy is not None:
            with self._turn:
                self._busy = None

    def _give_up(self, error: BaseException) -> UserError:
        """End the run; values that still come are passed on as failed, so that nobody waits for them."""
        if not isinstance(error, UserError):
            log.error("%s stopped", self.name, exc_info=error)
            error = RunError(f"{self.name}: {described(error)}")
        self._error = self._error or error
        self._failures.end_run(error)
        return self._error

    def _close(self) -> None:
        """Release the step. What it has written may be worthless if that fails, so the run has failed too."""
        self._busy = "closing", self._clock()
        try:
            self._copies.close()
        except BaseException as error:
            self._failures.end_run(closing_failed(self.name, error))
        self._busy = None

    def _handle_all(self, taken: Sequence[tuple[Item | End, float]]) -> None:
        """Serve the values, together if there are several, and keep what lay between them in its place."""
        if self._works is not None:
            for item, waited in taken:
                self._handle_in_order(self._works, item, waited)
            return
        values: list[Item] = []
        in_hand = self._in_hand = [item for item, _ in taken]
        for item, waited in taken:
            if isinstance(item, Item) and item.is_value:
                self.metrics.wait.add(waited)
                values.append(item)
        results = iter(self._results(values) if values else ())
        self._rest()
        for index, (item, _) in enumerate(taken):
            result = next(results) if isinstance(item, Item) and item.is_value else None
            if in_hand[index] is None:  # given up while the step was stuck
                continue
            in_hand[index] = None
            if isinstance(item, Item) and item.is_value:
                self._deliver(item, result)
            else:
                self._pass_on(item)

    def _handle_in_order(self, works: Works, item: Item | End, waited: float) -> None:
        """Serve one value, here or at the workers; it goes on when all before it have.

        The end of a stream goes on in this thread, and not while the order is held: workers have to flush
        first, and their answer comes by the thread that also takes the answers of other cameras.
        """
        if isinstance(item, End):
            works.finish(item.camera)
            self._skips.pop(item.camera, None)
            self._pass_on(item)
            return
        if not item.is_value:
            works.pass_by(item.camera, lambda: self._pass_on(item))
            return
        self.metrics.wait.add(waited)
        self._busy = item.frame, self._clock()
        chosen = self._copies.turn_to(item)
        self._let_pass(works, chosen, item.camera)
        works.begin(item, chosen)
        if self._error or chosen.remote is None:
            (result,) = self._results([item])
            if work := works.take(item):
                works.go_on(work, lambda: self._deliver(item, result))
        elif not chosen.remote.send(item):
            self._answered(item, Answer(RunError(f"{self.name}: its workers are gone")))

    def _let_pass(self, works: Works, chosen: Copy, camera: str) -> None:
        """Before values of a camera leave out the steps behind this, wait until none is on its way there."""
        before, self._skips[camera] = self._skips.get(camera, ()), chosen.then
        if chosen.then and chosen.then != before:
            works.finish(camera)
            last, passed = chosen.then[-1][0], threading.Event()
            self.outlet.emit(Passage.to(last.name, camera, passed.set))
            while not passed.wait(1.0) and last.thread.is_alive():  # it may have ended when the run does
                pass

    def _answered(self, item: Item, answer: Answer) -> None:
        """Take what the workers made of a value, in the thread that reads what they say."""
        works = self._works
        assert works is not None
        work = works.take(item)
        if work is None:  # it was given up
            return
        try:
            self._finish(works, work, answer)
        except BaseException as error:
            self._give_up(error)

    def _finish(self, works: Works, work: Work, answer: Answer) -> None:
        """Count what the workers made of a value, and send it on in its turn, from where they left off."""
        steps: list[Runner] = [self, *(runner for runner, _ in work.copy.then)]
        last, result = steps[max(0, len(answer.services) - 1)], answer.result
        if isinstance(result, UserError):
            self._give_up(result)
        for step, service in zip(steps, answer.services, strict=False):
            step._count(work.item, result if step is last else _PASSED, service.seconds)
        if type(result) is Absent:
            self._go_on(works, work, work.item.with_value(result))
        else:
            works.go_on(work, lambda: last._deliver(work.item, result))

    def _results(self, items: Sequence[Item]) -> Sequence[Any]:
        """What the step makes of the values; an exception stands in for the result it prevented."""
        if self._copies.all_alike:
            return self._worked(items)
        results: list[Any] = []
        for _, group in itertools.groupby(items, lambda item: item.route):
            together = list(group)
            for item in together:
                self.step = self._copies.turn_to(item).step
            results += self._worked(together)
        return results

    def _worked(self, items: Sequence[Item]) -> Sequence[Any]:
        """The results of values that go to the same copy of the step."""
        if self._error:
            return [self._error] * len(items)
        begun = time.perf_counter()
        self._busy = items[0].frame, self._clock()
        try:
            given = self._call([item.value for item in items])
            # What is usual is told by one look in a set: this is done at every hop.
            results: Sequence[Any] = [
                result if type(result) in self._usual else self._checked(result) for result in given
            ]
        except UserError as error:
            return [self._give_up(error)] * len(items)
        except Exception as error:
            results = [error] if len(items) == 1 else [self._alone(item) for item in items]
        except BaseException as error:  # SystemExit, a panic of a library written in Rust
            return [self._give_up(error)] * len(items)
        spent = (time.perf_counter() - begun) / len(items)
        for item, result in zip(items, results, strict=True):
            self._count(item, result, spent)
        return results

    def _count(self, item: Item, result: Any, seconds: float) -> None:
        tally = self.metrics.tallies[item.camera]
        with self.metrics.lock:
            self.metrics.service.add(seconds)
            if type(result) in self._usual or result is _PASSED:
                tally.count += 1
                tally.recent += 1
            else:
                self._note(tally, result)
        if tally.failed:
            self._failures.judge(self.name, item.camera, tally, live=item.live, session=item.frame.session)

    def _checked(self, result: Any) -> Any:
        """The result, or a `TypeError` in the place of one that the step does not declare."""
        if result is None or type(result) is Absent or self._fits(result):
            return result
        return TypeError(
            f"{self.name} gave {_shown(result)}, but declares that it gives {readable(self._gives)}"
        )

    def _alone(self, item: Item) -> Any:
        """One value of a batch that failed as a whole: only the one that fails alone is lost."""
        if self._error:
            return self._error
        try:
            return self._checked(self._call([item.value])[0])
        except UserError as error:
            return self._give_up(error)
        except Exception as error:
            return error
        except BaseException as error:  # as in `_results`
            return self._give_up(error)

    def _note(self, tally: Tally, result: Any) -> None:
        """Count a value that is not what the step gives as a rule."""
        if isinstance(result, Exception):
            tally.add(result)
            if not self._has_failed:
                cause = described(result)
                log.error("%s failed: %s (further failures are counted)", self.name, cause, exc_info=result)
            self._has_failed = True
        elif type(result) is Absent or (result is None and self._answers_later):
            tally.count += 1  # neither well nor ill: nothing is known of the value yet
        else:
            tally.add()

    def _failed(self, item: Item, error: Exception) -> Item:
        cause = "operator stopped" if error is self._error else type(error).__name__
        return item.absent(Outcome.FAILED, cause, self.name)

    def _new_inbox(self, *, shed: bool, clock: Clock) -> Inbox:
        if not shed:
            return Mailbox(self.name, shed=None, clock=clock)
        return Mailbox(self.name, shed=self._pass_on, deadline=self._deadline, clock=clock)

    def _most(self) -> int:
        """The most values that `_call` takes at once."""
        return 1

    @abstractmethod
    def _call(self, values: list[Any]) -> Sequence[Any]:
        """Let the step work on the values: one result each."""

    @abstractmethod
    def _deliver(self, item: Item, result: Any) -> None:
        """Send a result, or the exception in its place, on its way."""

    def _pass_on(self, item: Item | End) -> None:
        """An `Absent` or the end of a stream."""
        self.outlet.emit(item)


def closing_failed(name: str, error: BaseException) -> UserError:
    """What to say of a step that cannot be closed; the error itself is shown by `--debug`."""
    if isinstance(error, UserError):
        return error
    failure = RunError(f"{name} could not be closed: {described(error)}")
    failure.__cause__ = error
    return failure


def _shown(value: object) -> str:
    """A value in a few words, e.g. "a str ('x')"."""
    text = repr(value)
    return f"a {type(value).__name__}" + (f" ({text})" if len(text) <= 40 else "")
