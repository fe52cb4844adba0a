"""A graph running on this machine: every operator a thread of this process."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from typing import Self

from flowedge.errors import ConfigError, RunError, UserError, described
from flowedge.graph.contract import Sink, Source
from flowedge.graph.graph import Graph
from flowedge.graph.loading import refuse_run_in_file
from flowedge.monitor.report import Decision, Report
from flowedge.plane.clock import Clock
from flowedge.plane.deadline import Deadline
from flowedge.plane.taps import Taps
from flowedge.planner.model import units
from flowedge.runtime.cameras import Cameras
from flowedge.runtime.decisions import Decisions
from flowedge.runtime.failures import Failures
from flowedge.runtime.ledger import Ledger
from flowedge.runtime.limits import Limits
from flowedge.runtime.measuring import Measuring
from flowedge.runtime.reporting import Preemptions, Reporter
from flowedge.runtime.routes import Configuration, Routes
from flowedge.runtime.runner import Outlet
from flowedge.runtime.watch import Watch
from flowedge.runtime.wiring import Wiring
from flowedge.runtime.workers.hosting import Hosting
from flowedge.runtime.workers.network import Network
from flowedge.runtime.workers.usage import Usage

log = logging.getLogger("flowedge.run")


class Run:
    """A running graph; use it as a context manager, so that nothing outlives it.

    `frames` bounds what every camera produces. `max_failures` is the share (0..1) of an operator's frames that
    may fail before the run ends. `limits` says how long the run waits and how much it holds; `clock` gives the
    seconds by which latency, waits, rates and the deadlines of frames are measured; starting and stopping are
    timed by the real clock.

    `plan` has pairs as `routes.switch` takes them, a configuration and the cameras whose frames go by it from
    the first on, None for all; without it knobs have their first values and everything works in this process.
    `shares` are the cores that it reserves for workers, which are kept to them.
    `network` has the machines on which a plan may put workers besides this one; it outlives the run.

    A graph without cameras runs until it is stopped: `add_camera` brings them.

    The graph is checked when the run is made (`GraphError`, `ConfigError` for a setting). The `with` block
    begins once every operator is set up; what prevents that is raised there: `UserError`, or `RunError` for any
    other exception, whose traceback is logged. Leaving the block stops the run, waits for what is in the graph
    and ends all threads.

    In a notebook, wait for the end and look at the report:

    >>> from flowedge import Graph
    >>> from flowedge.operators import Null, video
    >>> graph = Graph("tiny")
    >>> video(graph, "street://?width=160&height=120&seconds=0.4&fps=25") >> Null()
    >>> with Run(graph) as run:
    ...     report = run.wait()
    >>> report.cameras["camera"].produced, report.cameras["camera"].delivered
    (10, 10)

    A service keeps it, adds and removes cameras, and asks how it goes, from any thread:

    >>> graph = Graph("service")
    >>> video(graph, {"north": "street://?width=160&height=120&live=1"}) >> Null()
    >>> with Run(graph) as run:
    ...     run.add_camera("south", "street://?width=160&height=120&live=1")
    ...     run.remove_camera("north")
    ...     cameras = list(run.report().cameras)
    >>> cameras, run.finished
    (['north', 'south'], True)

    The interpreter's switch interval is left as it is. Where a program has threads that are bound by Python
    itself, `sys.setswitchinterval(0.0005)` makes each frame wait less for them: the command does that.
    """

    def __init__(
        self,
        graph: Graph,
        *,
        frames: int | None = None,
        plan: Sequence[tuple[Configuration, Collection[str] | None]] = (),
        shares: Mapping[str, float] | None = None,
        max_failures: float = 0.5,
        limits: Limits | None = None,
        network: Network | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        _check(frames, max_failures)
        graph.check()
        self.graph = graph
        self.network = network
        self._plan = tuple(plan)
        self._clock = clock
        self._limits = limits or Limits()
        goal = graph.goal.latency
        deadline = Deadline(units.seconds(goal, "Goal.latency")) if goal else None
        self._ledger = Ledger(self._limits, clock, deadline)
        tapped = [node.name for node in graph.nodes if not isinstance(node.step, Sink)]
        self._taps = Taps(graph.name, tapped, lambda: self.report().as_json())
        self._failures = Failures(
            max_share=max_failures,
            judged_after=self._limits.judged_after,
            on_fatal=self.stop,
            on_failing=lambda camera: self._cameras.give_up(camera),
        )
        self._wiring = Wiring(
            graph,
            ledger=self._ledger,
            failures=self._failures,
            limits=self._limits,
            clock=clock,
            on_end=lambda sink, camera: self._cameras.ended(sink, camera),
            deadline=deadline,
        )
        self._finished = threading.Event()
        self._cameras = self._new_cameras(frames)
        self._usage = Usage()
        self._hosting = Hosting(self._usage, shares or {}, self._failures.end_run, clock, network)
        self.routes = Routes(graph, self._wiring.runners, self._ledger, self._hosting.host)
        self.decisions = Decisions(self.measuring, clock)
        self._preemptions = Preemptions()
        self._reporter = self._new_reporter()
        self._watch = Watch(
            self._wiring.runners.values(),
            self._reporter,
            self._limits,
            on_hung=self._stop_waiting,
            on_look=self._look,
        )
        self._closing = threading.RLock()
        self._lock = threading.RLock()  # a handler of signals may call `stop` while its thread is in it
        self._patience: threading.Timer | None = None
        self._patience_over = self._aborted = self._closed = False

    def _new_cameras(self, frames: int | None) -> Cameras:
        return Cameras(
            [node.step for node in self.graph.nodes if isinstance(node.step, Source)],
            {node.name: self.graph.sinks_behind(node.name) for node in self.graph.sources()},
            self._wiring.outlets,
            ledger=self._ledger,
            taps=self._taps,
            failures=self._failures,
            frames=frames,
            limits=self._limits,
            clock=self._clock,
            check=self.graph.check_camera,
            on_ended=self._finished.set,
        )

    def _new_reporter(self) -> Reporter:
        return Reporter(
            self.graph,
            ledger=self._ledger,
            runners=self._wiring.runners,
            cameras=self._cameras,
            routes=self.routes,
            decisions=self.decisions,
            preemptions=self._preemptions,
            usage=self._usage,
            failures=self._failures,
            limits=self._limits,
            clock=self._clock,
        )

    def __enter__(self) -> Self:
        refuse_run_in_file()
        with ExitStack() as stack:
            stack.enter_context(self._taps)
            stack.callback(self._shut_down)
            self._start()
            self._resources = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._resources.close()

    @property
    def error(self) -> Exception | None:
        """What ended the run before its time."""
        return self._failures.error

    @property
    def endpoint(self) -> str:
        """Where a Zenoh client can tap the graph's streams, on this machine only."""
        return self._taps.endpoint

    @property
    def finished(self) -> bool:
        """Whether every camera has ended and every frame is accounted for."""
        return self._finished.is_set()

    @property
    def stopping(self) -> bool:
        """Whether the run was asked to end, or has ended: its operators stay where they are."""
        return self._hosting.ending

    @property
    def preempted(self) -> bool:
        """Whether it uses no cores now, so that nothing it does can be judged."""
        return self._preemptions.since is not None

    def finished_within(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds; whether the run has finished."""
        return self._finished.wait(timeout)

    def wait(self, timeout: float | None = None) -> Report:
        """Wait until every camera has ended, or `timeout` seconds; the report so far.

        Raises what ended the run before its time: the `SourceError` of the last camera to fail when all did,
        the `UserError` of an operator or one that says that it failed on too many frames, `RunError` for any
        other exception.
        """
        self._finished.wait(timeout)
        if self.finished:
            self._close()
        if self.error:
            raise self.error
        return self.report()

    def report(self) -> Report:
        """What the run has done so far."""
        return self._reporter.report(finished=self.finished)

    def stop(self) -> None:
        """Let every camera end; what is in the graph is still delivered, unless that takes too long."""
        self._hosting.abandon()
        with self._lock:
            running = self._cameras.stop()
            self._ledger.resume()  # no frame comes any more, and the ends of streams need no operator
            if not running:
                self._finished.set()
            elif self._patience is None and not self.finished:
                self._patience = threading.Timer(self._limits.drain_seconds, self._lose_patience)
                self._patience.name, self._patience.daemon = "flowedge-patience", True
                self._patience.start()

    def _stop_waiting(self) -> None:
        """Nothing moves but for steps that hang: a run that stops has nothing to wait for."""
        if self._patience is not None:
            self._lose_patience()

    def _lose_patience(self) -> None:
        self._patience_over = True
        self._finished.set()

    def abort(self) -> None:
        """End at once: what is in the graph is counted as dropped."""
        self._aborted = True
        self.stop()
        self._finished.set()

    def preempt(self, reason: str) -> None:
        """Use no cores until `resume`, and lose nothing but what live cameras give meanwhile.

        Files are not read on; frames of live cameras are dropped as "preempted". What is in the graph is still
        delivered, then the operators are released, each with a checkpoint of what it knows of the cameras;
        those without a snapshot stay as they are, as do all where frames are still in the graph after
        `Limits.drain_seconds`. Sinks keep their files open. `reason` is for the report. One thread at a time
        calls this and `resume`.
        """
        begun = self._clock()
        self._ledger.preempt()
        if self.stopping:
            self._ledger.resume()
            return
        if self._ledger.wait_until_quiet(self._limits.drain_seconds) and not self.stopping:
            self.routes.checkpoint()
        self._preemptions.begin(begun)
        self.decisions.add(
            Decision(self._reporter.seconds, reason, preempted=True, setup_seconds=self._clock() - begun)
        )

    def resume(self, reason: str) -> None:
        """Go on after `preempt`, from the checkpoints: identities and counts go on.

        Where an operator cannot be set up again, that ends the run, as in the beginning.
        """
        begun = self._clock()
        try:
            if not self.stopping:
                self.routes.resume()
        except UserError as error:
            self._failures.end_run(error)
        except Exception as error:
            log.error("the operators could not be set up again", exc_info=error)
            self._failures.end_run(RunError(f"the operators could not be set up again: {described(error)}"))
        self._preemptions.end(self._clock())
        self._ledger.resume()
        self.decisions.add(
            Decision(self._reporter.seconds, reason, preempted=False, setup_seconds=self._clock() - begun)
        )

    def add_camera(self, name: str, address: str, *, source: str | None = None) -> None:
        """Attach one more camera to a source (the only one, unless it is named) while the graph runs.

        Raises `GraphError` where the run is ending, there is no such source or the name is taken, and
        `ConfigError` for a name or address that the source refuses, a camera that a mapping by camera names no
        value for, and one whose file another camera or sink writes.
        """
        self._cameras.add(name, address, source)

    def remove_camera(self, name: str) -> None:
        """Let one camera end; the others go on. Raises `GraphError` where no such camera runs."""
        self._cameras.remove(name)

    def cameras(self) -> list[tuple[str, str]]:
        """The cameras that run, each after the name of its source."""
        return self._cameras.running()

    def is_live(self, camera: str) -> bool:
        """Whether the newest frame of a camera matters more than every frame."""
        return self._ledger.is_live(camera)

    def processes(self) -> list[int]:
        """The process ids of this process and of the workers as of the last look at them."""
        return [os.getpid(), *(use.pid for use in self._usage.workers.values() if use.pid is not None)]

    def measuring(self) -> Measuring:
        """What happens in the run from now on, window by window."""
        return Measuring(self._wiring.runners, self._ledger, self._clock)

    @property
    def source_outlets(self) -> Mapping[str, Outlet]:
        """Where the values of each source go."""
        return {node.name: self._wiring.outlets[node.name] for node in self.graph.sources()}

    def _look(self) -> None:
        """What there is to do about twice a second."""
        self.routes.close_unused()
        self.decisions.look()

    def _start(self) -> None:
        """Set up every step, then open the cameras: no camera waits for a model that loads."""
        for runner in self._wiring.runners.values():
            runner.start()
        self._watch.start()  # now: a setup may hang too
        self._cameras.setup()
        for runner in self._wiring.runners.values():
            runner.ready.wait()
        if self.error:
            raise self.error
        for configuration, cameras in self._plan:
            self.routes.switch(configuration, cameras)
        self._reporter.restart()
        self._cameras.start()

    def _shut_down(self) -> None:
        try:
            self.stop()
            self._finished.wait(self._limits.drain_seconds)
        finally:
            self._close()

    def _close(self) -> None:
        """Let the threads go, in the order of the graph, and settle what is left; once."""
        with self._closing:
            if not self._closed:
                self._close_once()
                self._closed = True  # an interrupt on the way leaves the rest to the next call

    def _close_once(self) -> None:
        if self._patience:
            self._patience.cancel()
            self._patience.join()
        for runner in self._wiring.runners.values():
            runner.inbox.close()
        self._join_threads()
        self._watch.stop()
        if not self.routes.wait_closed(self._limits.drain_seconds):
            log.error("an operator that is needed no more cannot be closed and is left behind")
        self.decisions.conclude()
        self._usage.look()
        self._hosting.close()
        self._cameras.close()
        self._ledger.abandon("run stopped")
        if not self.error:
            for runner in self._wiring.runners.values():
                runner.judge_finally()

    def _join_threads(self) -> None:
        """Wait for the threads to end, and leave behind what is stuck: a step that is has not done its work."""
        runners = self._wiring.runners.values()
        ready = all(runner.ready.is_set() for runner in runners)
        # Where frames were waited for in vain, what is stuck is so for good.
        limit = self._limits.drain_seconds if ready and not self._patience_over else self._limits.setup_seconds
        deadline = time.monotonic() + min(limit, self._limits.drain_seconds)
        for thread in (*(runner.thread for runner in runners), *self._cameras.threads):
            if thread.ident is None:  # an interrupt came before it was started
                continue
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                log.error("%s has not stopped after %.0f s and is left behind", thread.name, limit)
        for runner in runners:
            seconds, work = runner.busy_for()
            if ready and runner.thread.is_alive() and not self._aborted:
                self._failures.end_run(
                    RunError(f"{runner.name} has been busy with {work} for {seconds:.0f} s and is left behind")
                )


def _check(frames: int | None, max_failures: float) -> None:
    if frames is not None and frames < 1:
        raise ConfigError(f"Run: frames={frames}: a whole number of frames from 1 is needed")
    if not 0 <= max_failures <= 1:
        raise ConfigError(f"Run: max_failures={max_failures}: a share from 0 to 1 is needed, e.g. 0.5")
