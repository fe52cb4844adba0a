"""Copies of a chain of operators on workers, as the process that runs the graph uses them.

Every value is sent to one copy, and its answer comes back once, whatever dies: the answer is the
acknowledgement, so counts stay with the process that has the cameras. A copy is sent no more than it has room
for: what waits beyond that waits in the inbox before it, where a live frame gives way to a newer one.

Measured there and back, one copy that gives what it is given, on two cores that others loaded to 15 and more:

                  median ms   least   CPU ms here   CPU ms in the worker
    event               0.7     0.5           0.4                    0.3
    1080p frame         8.8     4.5           3.1                    3.0

Of a frame's time most is the copy of 6.2 MB into shared memory, once each way; raw Zenoh takes 0.25 ms then.
"""

from __future__ import annotations

import itertools
import json
import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from flowedge.dispatch.classic import LeastLoaded
from flowedge.dispatch.policy import DispatchPolicy
from flowedge.errors import RunError, StateError, UserError
from flowedge.graph.contract import Operator, Plain, State
from flowedge.graph.serialization import step_to_json
from flowedge.plane.clock import Clock
from flowedge.plane.item import Item
from flowedge.plane.transports.requests import Flush, Reply, Retire, Snapshot
from flowedge.plane.transports.shared_memory import LossCause, SlotLost
from flowedge.runtime.workers.attendant import Attendant
from flowedge.runtime.workers.camera_states import CameraStates, new_epoch
from flowedge.runtime.workers.chain import Answer, pack_states, to_error, unpack_states
from flowedge.runtime.workers.checkpointing import Checkpointing
from flowedge.runtime.workers.link import Link, WorkerDiedError
from flowedge.runtime.workers.node import Node
from flowedge.runtime.workers.placement import Copy, Placement, Sent, check, state_of
from flowedge.values import Outcome
from flowedge.wire.fields import WireError

log = logging.getLogger("flowedge.run")

RETIRE_SECONDS = 5.0
"""How long a copy may take to finish and close its steps."""

MOST_DEATHS = 2
"""How many workers may die on a frame before it is given up."""

MOST_LOSSES = 3
"""How often the value of a frame may be lost on the way before the frame is given up."""

CHECKPOINT_SECONDS = 1.0
"""How often the state of a camera with new frames is copied here, for the day when its worker dies."""

_instances = itertools.count(1)
_numbers = itertools.count(1)  # of requests: no life of a worker answers what was sent to another


class Replicas:
    """Copies of a chain of operators on workers: each item goes to one of them, its answer comes back once.

    `node_of`: the node that keeps a worker. `chain` answers at once (no `delayed` operator, no `Synchronize`).
    A chain without state has a copy on each of `workers`, among which `policy` chooses; one with state is
    keyed: all that belongs together by its state (frames of a camera, tiles of one place) goes to one copy, in
    order. `room`: items sent to a copy and not answered, at least as many as a batch has.

    `on_answer(item, answer)` is called once for every item sent, in a thread that must not be kept waiting.
    When a worker dies its live items are answered as dropped, "worker died"; those of files are sent again. An
    item on which two workers died is answered as failed, "worker died twice". State goes on from a checkpoint,
    about a second old, with identities that nobody has given out. `on_error` is told what must end
    the run. `deaths` counts workers that died, `losses` values that were lost on the way, by cause.
    """

    def __init__(
        self,
        node_of: Callable[[str], Node],
        chain: Sequence[Operator[Any, Any]],
        workers: Sequence[str],
        *,
        policy: DispatchPolicy | None = None,
        room: int = 2,
        on_answer: Callable[[Item, Answer], None],
        on_error: Callable[[UserError], None],
        clock: Clock = time.monotonic,
    ) -> None:
        check(chain, workers)
        self.place = chain[0].name
        self.steps = tuple(step.name for step in chain)
        self.deaths = 0
        self.losses: Counter[str] = Counter()
        self._node_of = node_of
        self._json = json.dumps([step_to_json(step) for step in chain])
        self._instance = f"{self.place}.{next(_instances)}"
        self._has_snapshot = any(step.has_snapshot for step in chain)
        self._placement = Placement(
            state_of(chain),
            workers,
            room=room,
            batch=max(step.batch for step in chain),
            policy=policy or LeastLoaded(),
        )
        self._copies = self._placement.copies
        self._states = CameraStates(self._placement)
        self._on_answer = on_answer
        self._on_error = on_error
        self._clock = clock
        self._again: deque[Sent] = deque()
        self._resending = False  # whether the attendant sends some of them, or soon will
        self._waits: Counter[str] = Counter()
        self._ends: dict[str, Callable[[], None]] = {}
        self._lock = threading.Lock()
        self._room_made = threading.Condition(self._lock)  # for `send` and whoever waits for the end
        self._error: UserError | None = None
        self._closed = False
        self._checkpointing = Checkpointing(self.place, self._instance, self._states, self._lock)
        self._attendant = Attendant(
            f"flowedge-{self.place}-copies",
            on_error=self._cannot_attend,
            look=self._checkpointing.fetch if self._has_snapshot else None,
            seconds=lambda: CHECKPOINT_SECONDS,
        )

    # --- what the runner of the operators calls -----------------------------------------------------------

    def start(self) -> None:
        """Host the chain on all workers and return when all are ready.

        Raises the sentence of the step that could not be set up, and that of a worker that cannot be started.
        """
        self._attendant.start()
        for copy in self._copies:
            self._node_of(copy.worker).own(copy.worker, self)
        with self._room_made:
            self._room_made.wait_for(
                lambda: self._error or self._closed or all(copy.link or copy.is_lost for copy in self._copies)
            )
            if self._error:
                raise self._error

    def give_up(self, error: UserError) -> None:
        """Let `start`, which may take long, raise this."""
        with self._lock:
            self._error = self._error or error
            self._notify()

    def send(self, item: Item) -> bool:
        """Send an item to a copy; waits while none has room. False when this is closed or cannot go on.

        A live item does not wait for machines that are out of reach.
        """
        sent = Sent(item)
        with self._room_made:
            while not self._closed and not self._error:
                if (
                    not self._again
                    and not self._resending
                    and (copy := self._placement.chosen(sent)) is not None
                ):
                    self._place(sent, copy)
                    break
                if item.live and self._is_out_of_reach():
                    break
                self._room_made.wait()
            else:
                return False
            self._waits[item.camera] += 1
        if sent.copy is None:
            self._answer(sent, _absent(sent, Outcome.DROPPED, "machine out of reach", self.place))
        else:
            self._put(sent)
        return True

    def end(self, camera: str, ended: Callable[[], None]) -> None:
        """The camera's stream is over: flush it in every copy after its last answer, then call `ended`."""
        with self._lock:
            closed = self._closed
            if not closed:
                self._ends[camera] = ended
                self._flush_if_over(camera)
        if closed:
            ended()

    def hand_over(self, camera: str) -> tuple[dict[str, Plain], int | None]:
        """Give the camera's state away, by step, after its last answer, and forget the camera.

        The number is None where that is the newest state. Else a worker died with the frames since the last
        checkpoint, and identities must go on in this epoch, as some may have been given out. Raises
        `StateError` for tiles, whose state lies with several copies, and what a step raises.
        """
        self._refuse_tiles()
        with self._room_made:
            self._room_made.wait_for(lambda: self._error or self._closed or not self._waits[camera])
            copy = self._placement.bound.get((camera, 0))
            link = copy.link if copy else None
            data, epoch = self._states.kept(camera, copy), self._states.epoch(camera)
        try:
            if link is not None:
                data = link.call(self._instance, Snapshot(camera)).result()
        except WorkerDiedError:
            epoch = new_epoch()
        finally:
            with self._lock:
                links = self._forget(camera)
            for link in links:  # in this thread: the camera may be back, with its state, at once
                link.call(self._instance, Flush(camera))
        return unpack_states(data), epoch

    def take_over(self, camera: str, states: Mapping[str, Plain], epoch: int | None) -> None:
        """Begin with what `hand_over` of other copies gave, at the camera's next frame.

        Raises `StateError` for what is no state.
        """
        self._refuse_tiles()
        data = pack_states(camera, states)
        with self._lock:
            self._states.take_over(camera, data, epoch)

    def close(self, *, at_once: bool = False) -> None:
        """Retire the copies after the last answer, or `at_once`: what is out is dropped then, "run stopped"."""
        with self._room_made:
            if not at_once:
                self._room_made.wait_for(lambda: self._error or self._closed or not +self._waits)
            if self._closed:
                return
            self._closed = True
            self._room_made.notify_all()
            left = [*self._placement.outstanding, *self._again]
            self._again.clear()
            ends = list(self._ends.values())
            self._ends.clear()
            for copy in self._copies:
                copy.outstanding.clear()
        for ended in ends:  # nobody will hear of a flush that comes after the instance was retired
            ended()
        for sent in left:
            self._answer(sent, _absent(sent, Outcome.DROPPED, "run stopped", self.place))
        for copy in self._copies:
            self._node_of(copy.worker).disown(copy.worker, self)
        for retired in [link.call(self._instance, Retire()) for link in self._placement.links]:
            self._heed(retired)
        self._attendant.stop()
        for link in self._placement.links:
            link.drop(self._instance)

    # --- what the node calls ------------------------------------------------------------------------------

    def worker_up(self, link: Link) -> None:
        """Host the chain on a worker that is there, or back."""
        self._attendant.do(lambda: self._host(link))

    def worker_down(self, link: Link, reason: str) -> None:
        """Settle what a dead worker held."""
        copy = self._placement.of(link.name)
        settled: list[tuple[Sent, Answer]] = []
        with self._lock:
            if copy.link is not link:  # it died before the chain was set up there
                return
            self.deaths += 1
            copy.link = None
            behind = self._states.lose(copy)
            again = []
            for sent in self._placement.take_all(copy):
                if sent.item.live:
                    settled.append((sent, _absent(sent, Outcome.DROPPED, "worker died", self.place)))
                elif sent.deaths >= MOST_DEATHS:
                    settled.append((sent, _absent(sent, Outcome.FAILED, "worker died twice", self.place)))
                else:
                    again.append(sent)
            self._again.extendleft(reversed(again))
            self._node_of(link.name).sent_again[link.name] += len(again)
            self._notify()
        log.warning(
            "%s: worker %s %s: %d frames are dropped, %d are sent again%s",
            self.place, link.name, reason, len(settled), len(again),
            "".join(f", the state of {camera} is {frames} frames old" for camera, frames in behind.items()),
        )  # fmt: skip
        for sent, answer in settled:
            self._answer(sent, answer)

    def worker_lost(self, name: str, error: RunError) -> None:
        """Go on without a worker, or end the run where it was the last."""
        with self._lock:
            copy = self._placement.of(name)
            copy.is_lost = True
            none_left = all(copy.is_lost for copy in self._copies)
            self._notify()
        if none_left or self._placement.state is State.PER_TILE:
            self._fail(error)
        else:
            log.error("%s: goes on with fewer copies: %s", self.place, error)

    def _is_out_of_reach(self) -> bool:
        """Whether no copy is there, nor can be before its machine is back."""
        return not any(copy.link or self._node_of(copy.worker).machine.is_there for copy in self._copies)

    # --- sending ------------------------------------------------------------------------------------------

    def _place(self, sent: Sent, copy: Copy) -> None:
        """Enter an item into the books of a copy."""
        assert copy.link is not None
        sent.copy, sent.link, sent.number, sent.since = copy, copy.link, next(_numbers), self._clock()
        self._states.bind(sent, copy)
        self._placement.add(sent)

    def _put(self, sent: Sent) -> None:
        """Send an item that has its place."""
        link = sent.link
        assert link is not None
        if sent.restores is not None:
            self._checkpointing.restore(link, sent.restores, sent.state)
        try:
            link.send(sent.number, self._instance, sent.item.value)
        except WireError as error:
            self._withdraw(sent, Answer(error))

    def _refuse_tiles(self) -> None:
        if self._placement.state is State.PER_TILE and len(self._copies) > 1:
            raise StateError(f"{self.place}: the state of tiles lies with several copies")

    def _withdraw(self, sent: Sent, answer: Answer) -> None:
        """Answer an item that cannot be sent."""
        with self._lock:
            assert sent.copy is not None
            if self._placement.remove(sent.copy, sent.number) is None:
                return
            self._notify()
        self._answer(sent, answer)

    # --- answers ------------------------------------------------------------------------------------------

    def _receive(self, copy: Copy, link: Link, number: int, reply: Reply, body: memoryview) -> None:
        """Take the reply to a request, in the thread that reads what workers say."""
        now = self._clock()
        with self._lock:
            sent = self._placement.remove(copy, number)
            if sent is None:
                return  # it was settled when something died
            seconds = sum(service.seconds for service in reply.services)
            self._placement.learn(sent, now - sent.since, seconds)
            if self._has_snapshot:
                self._states.note(sent.item.camera, copy)
            self._notify()
        try:
            if not reply.services:
                raise SlotLost(LossCause.WRITER_GONE, "the worker could not read the value")
            result = to_error(reply.failure) if reply.failure else link.value(reply, body)
        except SlotLost as error:
            self._lose(sent, error.cause.value)
            return
        except WireError as error:
            result = error
        except Exception:
            log.exception("%s: a result could not be read", self.place)
            self._lose(sent, "unreadable")
            return
        self._answer(sent, Answer(result, reply.services, max(0.0, now - sent.since - seconds)))

    def _lose(self, sent: Sent, cause: str) -> None:
        """A value did not arrive, or its result: send it again, though not for ever."""
        self.losses[cause] += 1
        given_up = sent.item.live or sent.losses + 1 >= MOST_LOSSES
        with self._lock:
            if not given_up and not self._closed:
                self._again.append(sent.again(losses=1))
                self._notify()
                return
        self._answer(sent, _absent(sent, Outcome.DROPPED, "value lost", self.place))

    def _answer(self, sent: Sent, answer: Answer) -> None:
        camera = sent.item.camera
        try:
            self._on_answer(sent.item, answer)
        finally:
            with self._lock:
                self._waits[camera] -= 1
                if not self._waits[camera]:
                    self._flush_if_over(camera)
                    self._room_made.notify_all()

    def _flush_if_over(self, camera: str) -> None:
        """Begin to end a camera that waits for nothing more; the caller has the lock."""
        if self._waits[camera] or camera not in self._ends or self._closed:
            return
        links = self._forget(camera)
        self._attendant.do(lambda: self._flush(camera, links))

    def _forget(self, camera: str) -> list[Link]:
        """Forget a camera that waits for nothing; the copies that shall do so. The caller has the lock."""
        del self._waits[camera]
        self._placement.forget(camera)
        self._states.forget(camera)
        return self._placement.links

    # --- what the attendant does: all that waits for workers ----------------------------------------------

    def _notify(self) -> None:
        """Tell whoever waits that something about the copies has changed; the caller has the lock."""
        self._room_made.notify_all()
        if not self._resending and self._next_again() is not None:
            self._resending = True
            self._attendant.do(self._send_again)

    def _next_again(self) -> Copy | None:
        return self._placement.chosen(self._again[0]) if self._again and not self._closed else None

    def _send_again(self) -> None:
        """Send what has to be sent again, as far as there is room."""
        while True:
            with self._lock:
                copy = self._next_again()
                if copy is None:
                    self._resending = False
                    self._room_made.notify_all()
                    return
                sent = self._again.popleft()
                self._place(sent, copy)
            self._put(sent)

    def _cannot_attend(self, error: Exception) -> None:
        log.error("%s: its copies cannot be attended to", self.place, exc_info=error)
        self._fail(RunError(f"{self.place}: {type(error).__name__}: {error}"))

    def _host(self, link: Link) -> None:
        copy = self._placement.of(link.name)

        def receive(number: int, reply: Reply, body: memoryview) -> None:
            self._receive(copy, link, number, reply, body)

        if self._closed:
            return
        hosted = link.host(self._instance, self._json, receive)
        hosted.add_done_callback(lambda hosted: self._hosted(copy, link, hosted))

    def _hosted(self, copy: Copy, link: Link, hosted: Future[bytes]) -> None:
        error = hosted.exception()
        if error is None:
            with self._lock:
                if self._closed:
                    link.call(self._instance, Retire())
                elif link.alive:
                    copy.link = link
                self._notify()
        elif not isinstance(error, WorkerDiedError):
            assert isinstance(error, Exception)
            self._fail(error if isinstance(error, UserError) else RunError(f"{self.place}: {error}"))

    def _flush(self, camera: str, links: Sequence[Link]) -> None:
        flushed = [link.call(self._instance, Flush(camera)) for link in links]
        left = itertools.count(len(flushed) - 1, -1)

        def heed(call: Future[bytes]) -> None:
            self._heed(call)
            if next(left) == 0:
                self._over(camera)

        for call in flushed:
            call.add_done_callback(heed)
        if not flushed:
            self._over(camera)

    def _over(self, camera: str) -> None:
        """Say that a camera has ended, to whoever waits for it still."""
        with self._lock:
            ended = self._ends.pop(camera, None)
        if ended is not None:
            ended()

    def _heed(self, call: Future[bytes]) -> None:
        """Wait for what a copy was told; what went wrong ends the run, unless its worker has died."""
        try:
            error = call.exception(RETIRE_SECONDS)
        except TimeoutError:
            log.error("%s: a copy has not closed after %.0f s and is left behind", self.place, RETIRE_SECONDS)
            return
        if isinstance(error, UserError) and not isinstance(error, WorkerDiedError):
            self._on_error(error)

    def _fail(self, error: UserError) -> None:
        """Answer everything as failed, and end the run."""
        with self._lock:
            first, self._error = self._error is None, self._error or error
            left = list(self._again)
            self._again.clear()
            self._notify()
        for sent in left:
            self._answer(sent, _absent(sent, Outcome.FAILED, "operator stopped", self.place))
        if first:
            self._on_error(error)


def _absent(sent: Sent, outcome: Outcome, cause: str, place: str) -> Answer:
    return Answer(sent.item.absent(outcome, cause, place).value)
