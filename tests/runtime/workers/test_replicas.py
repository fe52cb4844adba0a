"""Copies of operators on workers: every item is answered once, whatever the copies do and whatever dies."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import zenoh

from flowedge import Absent, ConfigError, Detections, Event, Operator, Origin, UserError
from flowedge.errors import RunError
from flowedge.operators import Crop, Track
from flowedge.plane.item import Item
from flowedge.runtime.workers.chain import Answer
from flowedge.runtime.workers.link import Link, WorkerDiedError
from flowedge.runtime.workers.node import Node
from flowedge.runtime.workers.placement import Sent
from flowedge.runtime.workers.replicas import Replicas
from flowedge.testing import frames
from flowedge.values import Outcome
from tests.runtime.fake_steps import SECONDS
from tests.runtime.worker_steps import Count, CountTiles, InBatches, Obey, command


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    """Two workers that all tests of this module share; a test may kill them."""
    with Node() as node:
        node.start("a")
        node.start("b")
        yield node


class Answers:
    """What came back, in the order in which it came."""

    def __init__(self) -> None:
        self.came: list[tuple[Item, Answer]] = []
        self.errors: list[UserError] = []
        self._changed = threading.Condition()

    def note(self, item: Item, answer: Answer) -> None:
        with self._changed:
            self.came.append((item, answer))
            self._changed.notify_all()

    def note_error(self, error: UserError) -> None:
        with self._changed:
            self.errors.append(error)
            self._changed.notify_all()

    def wait(self, count: int) -> list[Answer]:
        """The answers in the order of frames, once there are so many."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.came) >= count, SECONDS)
        assert len(self.came) == count
        return [answer for _, answer in sorted(self.came, key=lambda entry: entry[0].frame)]

    def wait_for_error(self) -> UserError:
        with self._changed:
            assert self._changed.wait_for(lambda: self.errors, SECONDS)
        return self.errors[0]


@contextmanager
def hosted(
    node: Node, chain: Sequence[Operator[Any, Any]], workers: Sequence[str] = ("a", "b"), **options: Any
) -> Iterator[tuple[Replicas, Answers]]:
    answers = Answers()
    copies = Replicas(
        lambda _: node, chain, workers, on_answer=answers.note, on_error=answers.note_error, **options
    )
    try:
        copies.start()
        yield copies, answers
    finally:
        copies.close(at_once=True)


def item(value: Any, *, live: bool = False) -> Item:
    return Item(value.origin.frame_id, value, live)


def send_all(copies: Replicas, values: Sequence[Any], *, live: bool = False) -> None:
    for value in values:
        assert copies.send(item(value, live=live))


def test_a_chain_works_in_other_processes_and_tells_of_each_step(node: Node, tmp_path: Path) -> None:
    begun, released = pipe(tmp_path)
    with hosted(node, [Obey(name="first"), Obey(name="second"), Obey(name="third")]) as (copies, answers):
        send_all(copies, [command(0, "hang", begun=str(begun), released=str(released))])
        begun.read_text()  # so that the other copy has something to do as well, however fast this one is
        send_all(copies, [command(index) for index in range(1, 20)])
        released.touch()
        came = answers.wait(20)
    pids = Counter(answer.result.data["pids"] for answer in came)
    assert set(pids) == {(pid, pid, pid) for pid in (node.pid("a"), node.pid("b"))}
    assert all([service.gave.value for service in answer.services] == ["value"] * 3 for answer in came)
    assert all(0 < service.seconds < SECONDS for answer in came for service in answer.services)
    assert [answer.result.origin.index for answer in came] == list(range(20))


def test_an_exception_is_the_answer_of_the_value_that_it_prevented(node: Node) -> None:
    with hosted(node, [Obey(name="first"), Obey(name="second")]) as (copies, answers):
        send_all(copies, [command(0, "raise"), command(1), command(2, "wrong")])
        raised, well, wrong = answers.wait(3)
    assert (type(raised.result).__name__, str(raised.result)) == ("LookupError", "not there")
    assert "in process" in str(raised.result.__cause__)
    assert [service.gave.value for service in raised.services] == ["failed"]
    assert isinstance(well.result, Event)
    assert str(wrong.result) == "first gave a str ('a text'), but declares that it gives Event"


def test_errors_that_end_a_run_keep_their_class(node: Node) -> None:
    with hosted(node, [Obey()]) as (copies, answers):
        send_all(copies, [command(0, "refuse"), command(1, "exit")])
        refused, ended = answers.wait(2)
    assert type(refused.result) is ConfigError
    assert str(refused.result) == "Obey.mark: it is not what it should be"
    assert type(ended.result) is RunError
    assert str(ended.result) == "Obey: SystemExit: enough"


def test_what_is_filtered_or_absent_goes_no_further_in_the_chain(node: Node) -> None:
    with hosted(node, [Obey(name="first"), Obey(name="second")]) as (copies, answers):
        send_all(copies, [command(0, "filter"), command(1, "absent")])
        filtered, absent = answers.wait(2)
    assert (filtered.result, len(filtered.services)) == (None, 1)
    assert (absent.result.outcome, absent.result.place) == (Outcome.DROPPED, "first")
    assert [service.gave.value for service in absent.services] == ["absent"]


def test_pictures_and_pairs_go_both_ways(node: Node) -> None:
    pictures = frames(3, 640, 480)
    with hosted(node, [Crop(0, 0, 640, 240)]) as (copies, answers):
        send_all(copies, pictures)
        cropped = answers.wait(3)
    assert [answer.result.image.shape for answer in cropped] == [(240, 640, 3)] * 3
    assert all(
        (answer.result.image == picture.image[:240]).all()
        for answer, picture in zip(cropped, pictures, strict=True)
    )


def test_values_that_wait_are_worked_on_together(node: Node, tmp_path: Path) -> None:
    begun, released = pipe(tmp_path)
    with hosted(node, [InBatches()], ["a"], room=9) as (copies, answers):
        send_all(copies, [command(0, "hang", begun=str(begun), released=str(released))])
        begun.read_text()
        send_all(copies, [command(index) for index in range(1, 8)])
        released.touch()
        together = [answer.result.data["together"] for answer in answers.wait(8)]
    assert together == [1, 4, 4, 4, 4, 3, 3, 3]


def test_of_a_batch_that_fails_only_the_value_that_fails_alone_is_lost(node: Node, tmp_path: Path) -> None:
    begun, released = pipe(tmp_path)
    with hosted(node, [InBatches()], ["a"], room=9) as (copies, answers):
        send_all(copies, [command(0, "hang", begun=str(begun), released=str(released))])
        begun.read_text()
        send_all(copies, [command(1), command(2, "raise"), command(3)])
        released.touch()
        came = answers.wait(4)
    assert [type(answer.result).__name__ for answer in came] == ["Event", "Event", "LookupError", "Event"]


def test_a_copy_is_sent_no_more_than_it_has_room_for(node: Node, tmp_path: Path) -> None:
    begun, released = pipe(tmp_path)
    with hosted(node, [Obey()], ["a"]) as (copies, answers):
        send_all(copies, [command(0, "hang", begun=str(begun), released=str(released)), command(1)])
        begun.read_text()
        third = threading.Thread(target=send_all, args=(copies, [command(2)]))
        third.start()
        third.join(0.1)
        assert third.is_alive()
        released.touch()
        third.join(SECONDS)
        answers.wait(3)


def test_a_step_that_cannot_be_set_up_is_told_in_its_sentence(node: Node) -> None:
    with (
        pytest.raises(ConfigError, match=r"^Obey\.setup_error: user is not a good value$"),
        hosted(node, [Obey(setup_error="user")]),
    ):
        pass
    with pytest.raises(RunError, match=r"^Obey: OSError: no such device$"), hosted(node, [Obey("other")]):
        pass


def test_steps_are_closed_when_their_copies_are(node: Node, tmp_path: Path) -> None:
    mark = tmp_path / "closed"
    with hosted(node, [Obey(mark=str(mark))], ["a"]):
        assert not mark.exists()
    assert mark.exists()


def test_the_end_of_a_camera_comes_after_its_answers_and_lets_copies_forget_it(node: Node) -> None:
    order: list[object] = []
    ended = threading.Event()

    def note_end() -> None:
        order.append("end")
        ended.set()

    with hosted(node, [Count()]) as (copies, answers):
        for _ in range(2):
            send_all(copies, [command(index) for index in range(3)])
            copies.end("north", note_end)
            assert ended.wait(SECONDS)
            ended.clear()
            order += [answer.result.data["count"] for _, answer in answers.came]
    assert order == ["end", 1, 2, 3, "end", 1, 2, 3, 1, 2, 3]


def test_a_camera_of_a_step_with_state_stays_with_one_copy_and_in_order(node: Node) -> None:
    cameras = ("north", "south", "east", "west")
    with hosted(node, [Count()]) as (copies, answers):
        send_all(copies, [command(index, camera=camera) for index in range(5) for camera in cameras])
        answers.wait(20)
    pids = {camera: set[int]() for camera in cameras}
    counts: dict[str, list[int]] = {camera: [] for camera in cameras}
    for sent, answer in answers.came:
        pids[sent.camera].add(answer.result.data["pid"])
        counts[sent.camera].append(answer.result.data["count"])
    assert all(count == [1, 2, 3, 4, 5] for count in counts.values())
    assert all(len(homes) == 1 for homes in pids.values())
    assert Counter(pid for homes in pids.values() for pid in homes) == {node.pid("a"): 2, node.pid("b"): 2}


def test_items_of_files_that_a_dead_worker_held_are_sent_again(node: Node, tmp_path: Path) -> None:
    begun, released = pipe(tmp_path)
    with hosted(node, [Obey()]) as (copies, answers):
        send_all(copies, [command(0, "hang", begun=str(begun), released=str(released))])
        pid = int(begun.read_text())
        send_all(copies, [command(index) for index in range(1, 4)])
        os.kill(pid, signal.SIGSTOP)  # it still has the first when it dies
        released.touch()
        os.kill(pid, signal.SIGKILL)
        send_all(copies, [command(index) for index in range(4, 10)])
        came = answers.wait(10)
    assert [answer.result.origin.index for answer in came] == list(range(10))
    assert copies.deaths == 1


def test_live_items_that_a_dead_worker_held_are_dropped(node: Node, tmp_path: Path) -> None:
    begun, released = pipe(tmp_path)
    with hosted(node, [Obey()], ["a"]) as (copies, answers):
        send_all(copies, [command(0, "hang", begun=str(begun), released=str(released)), command(1)], live=True)
        os.kill(int(begun.read_text()), signal.SIGKILL)
        lost = [answer.result for answer in answers.wait(2)]
        send_all(copies, [command(2)], live=True)  # waits for the worker that comes back
        answers.wait(3)
    assert lost == [Absent(command(index).origin, Outcome.DROPPED, "worker died", "Obey") for index in range(2)]


def test_a_frame_on_which_two_workers_die_is_given_up_and_the_others_are_not(node: Node) -> None:
    with hosted(node, [Obey()]) as (copies, answers):
        send_all(copies, [command(index, "die" if index == 3 else "pass") for index in range(8)])
        came = answers.wait(8)
    assert came[3].result == Absent(command(3).origin, Outcome.FAILED, "worker died twice", "Obey")
    assert all(isinstance(came[index].result, Event) for index in range(8) if index != 3)
    assert copies.deaths in (2, 3)  # an answer may be lost with the worker that gave it


def test_a_frozen_worker_is_replaced(node: Node, tmp_path: Path) -> None:
    begun, released = pipe(tmp_path)
    with hosted(node, [Obey()], ["a"]) as (copies, answers):
        send_all(copies, [command(0, "hang", begun=str(begun), released=str(released))])
        frozen = int(begun.read_text())
        os.kill(frozen, signal.SIGSTOP)
        released.touch()
        (answer,) = answers.wait(1)
    assert answer.result.data["pids"] != (frozen,)


def test_state_goes_on_from_the_last_checkpoint_with_identities_of_its_own(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flowedge.runtime.workers.replicas.CHECKPOINT_SECONDS", 0.01)
    with hosted(node, [Count(marks=str(tmp_path))]) as (copies, answers):
        send_all(copies, [command(index) for index in range(6)])
        pid = answers.wait(6)[0].result.data["pid"]
        wait_for((tmp_path / Count.mark(pid, 6)).exists)
        send_all(copies, [command(6)])  # its answer comes after the checkpoint of the six before it
        seventh = answers.wait(7)[6].result
        os.kill(pid, signal.SIGKILL)
        send_all(copies, [command(index) for index in range(7, 10)])
        after = answers.wait(10)[7:]
    counts = [answer.result.data["count"] for answer in after]
    assert counts[0] in (7, 8)  # there may have been a checkpoint after the seventh
    assert counts == [counts[0], counts[0] + 1, counts[0] + 2]
    assert seventh.data["epoch"] == 0
    assert {answer.result.data["epoch"] > 0 for answer in after} == {True}


def test_state_of_tiles_goes_on_where_it_was(
    node: Node, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("flowedge.runtime.workers.replicas.CHECKPOINT_SECONDS", 0.01)

    def send_frame(index: int) -> None:
        value = command(index)
        for part in range(2):
            assert copies.send(Item(value.origin.frame_id, value, False, part, 2))

    with hosted(node, [CountTiles(marks=str(tmp_path))]) as (copies, answers):
        for index in range(4):
            send_frame(index)
        pids = {item.part: answer.result.data["pid"] for item, answer in zip_answers(answers, 8)}
        assert pids[0] != pids[1]
        wait_for((tmp_path / Count.mark(pids[0], 4)).exists)
        send_frame(4)  # its answers come after the checkpoint of the four before it
        answers.wait(10)
        os.kill(pids[0], signal.SIGKILL)
        send_frame(5)
        last = {item.part: answer.result.data for item, answer in zip_answers(answers, 12)[-2:]}
    assert last[1]["count"] == 6
    assert last[0]["count"] in (5, 6)  # there may have been a checkpoint after the fifth


def test_state_moves_to_other_copies(node: Node) -> None:
    with hosted(node, [Count()], ["a"]) as (first, answers):
        send_all(first, [command(index) for index in range(5)])
        states, epoch = first.hand_over("north")
        answers.wait(5)
        assert (states, epoch) == ({"Count": {"count": 5}}, None)
        send_all(first, [command(5)])  # it has forgotten the camera
        assert answers.wait(6)[5].result.data["count"] == 1
    with hosted(node, [Count()], ["b"]) as (second, answers):
        second.take_over("north", states, epoch)
        send_all(second, [command(5)])
        (answer,) = answers.wait(1)
    assert (answer.result.data["count"], answer.result.data["epoch"]) == (6, 0)


def test_a_state_that_moves_after_a_death_goes_on_with_identities_of_its_own(node: Node) -> None:
    with hosted(node, [Count()], ["a"]) as (first, answers):
        send_all(first, [command(index) for index in range(5)])
        os.kill(answers.wait(5)[0].result.data["pid"], signal.SIGKILL)
        wait_for(lambda: first.deaths == 1)
        states, epoch = first.hand_over("north")
    assert epoch is not None
    with hosted(node, [Count()], ["b"]) as (second, answers):
        second.take_over("north", states, epoch)
        send_all(second, [command(5)])
        (answer,) = answers.wait(1)
    assert answer.result.data["epoch"] == epoch


def test_an_item_whose_sending_is_overtaken_by_a_death_is_worked_on_once(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hosted(node, [Count()], ["a"]) as (copies, answers):
        put = copies._put

        def late(sent: Sent) -> None:
            monkeypatch.setattr(copies, "_put", put)
            pid = node.pid("a")
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            wait_for(lambda: len(answers.came) == 1)  # it was sent again
            put(sent)

        monkeypatch.setattr(copies, "_put", late)
        send_all(copies, [command(0), command(1)])
        assert [answer.result.data["count"] for answer in answers.wait(2)] == [1, 2]


def test_a_state_that_cannot_be_taken_over_is_told_of_and_work_goes_on(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    with hosted(node, [Count()], ["a"]) as (copies, answers):
        copies.take_over("north", {"Count": {"something": "else"}}, None)
        send_all(copies, [command(0)])
        (answer,) = answers.wait(1)
    assert answer.result.data["count"] == 1
    assert "Count: the state of north is lost: a count is needed" in caplog.messages


def test_identities_of_tracks_go_on_after_a_death(node: Node) -> None:
    def seen(index: int) -> Detections:
        origin = Origin("north", index=index, media=index / 25, width=640, height=360)
        box = [100 + 2 * index, 100, 140 + 2 * index, 200]
        return Detections(origin, [box], [0.9], [0], ("person",))

    with hosted(node, [Track()]) as (copies, answers):
        send_all(copies, [seen(index) for index in range(9)])
        copies.take_over("north", *copies.hand_over("north"))
        send_all(copies, [seen(9)])
        answers.wait(10)
        for name in ("a", "b"):
            pid = node.pid(name)
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            wait_for(lambda: node.pid(name) not in (pid, None))  # noqa: B023
        send_all(copies, [seen(index) for index in range(10, 20)])
        ids = [answer.result.ids.tolist() for answer in answers.wait(20)]
    assert ids == [[1]] * 20


def test_a_worker_that_dies_while_its_topic_is_opened_is_told_of_as_dead(node: Node) -> None:
    link = Link(node.machine, "c", "c.1")

    def lost(_: str) -> threading.Event:
        link.lose("died")
        raise zenoh.ZError("Undeclared publisher")

    link._open = lost  # type: ignore[method-assign]
    hosted = link.host("Obey.0", "[]", lambda *_: None)
    assert isinstance(hosted.exception(SECONDS), WorkerDiedError)


def test_what_is_out_is_dropped_when_the_copies_are_closed_at_once(node: Node, tmp_path: Path) -> None:
    begun, released = pipe(tmp_path)
    with hosted(node, [Obey()], ["a"]) as (copies, answers):
        send_all(copies, [command(0, "hang", begun=str(begun), released=str(released))])
        begun.read_text()
        threading.Timer(0.1, released.touch).start()
    (answer,) = answers.wait(1)
    assert answer.result == Absent(command(0).origin, Outcome.DROPPED, "run stopped", "Obey")
    assert not copies.send(item(command(1)))


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait for what another process does to a file."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def zip_answers(answers: Answers, count: int) -> list[tuple[Item, Answer]]:
    """What was sent and its answer, in the order of frames and parts, once there are so many."""
    answers.wait(count)
    return sorted(answers.came, key=lambda entry: (entry[0].frame, entry[0].part))


def pipe(folder: Path) -> tuple[Path, Path]:
    """A pipe through which a step tells that it hangs, and the file that releases it."""
    os.mkfifo(folder / "begun")
    return folder / "begun", folder / "released"
