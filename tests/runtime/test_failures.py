"""When failures are too many, which error ends the run, and which ends only a camera."""

from __future__ import annotations

import logging
import re

import cv2
import numpy as np
import pytest

from flowedge.errors import RunError, SourceError, UserError, described
from flowedge.runtime.failures import CAUSES_KEPT, Failures, Tally


class Judged:
    """Failures that count how often they ended the run, and name the cameras that they called failing."""

    def __init__(self, max_share: float = 0.5) -> None:
        self.fatal = 0
        self.failing: list[str] = []
        self.of = Failures(
            max_share=max_share, judged_after=20, on_fatal=self._end, on_failing=self.failing.append
        )

    def _end(self) -> None:
        self.fatal += 1

    def opened(self, *cameras: str) -> Judged:
        for camera in cameras:
            self.of.camera_opened(camera)
        return self


def tally(count: int, failed: int, error: Exception | None = None) -> Tally:
    made = Tally()
    for index in range(count):
        made.add((error or ValueError("no")) if index >= count - failed else None)
    return made


@pytest.mark.parametrize(
    ("count", "failed", "max_share", "final", "ends"),
    [
        (20, 11, 0.5, False, True),
        (20, 10, 0.5, False, False),
        (19, 19, 0.5, False, False),  # too few to judge
        (19, 19, 0.5, True, True),
        (1, 1, 1.0, True, False),
        (100, 1, 0.0, False, True),
        (0, 0, 0.0, True, False),
    ],
)
def test_the_only_camera_is_judged_by_the_share_that_failed(count, failed, max_share, final, ends):
    judged = Judged(max_share).opened("north")
    if final:
        judged.of.judge_finally("Detect", "north", tally(count, failed))
    else:
        judged.of.judge("Detect", "north", tally(count, failed), live=False)
    assert judged.fatal == ends
    if ends:
        expected = rf"Detect failed on {failed} of {count} frames of north .*: ValueError: no"
        assert re.match(expected, str(judged.of.error))


def test_one_camera_that_fails_leaves_the_run_alone_and_is_said_once(caplog):
    judged = Judged().opened("north", "south")
    for session in range(3):
        judged.of.judge("Decode", "south", tally(20, 20), live=True, session=session)
    assert (judged.fatal, judged.failing) == (0, ["south"] * 3)
    assert judged.of.of_camera("north") is None
    assert "Decode failed on 20 of 20 frames of south" in str(judged.of.of_camera("south"))
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == 1


def test_frames_that_were_on_their_way_are_not_held_against_the_camera_again():
    judged = Judged().opened("north", "south")
    judged.of.judge("Decode", "south", tally(20, 20), live=True, session=3)
    judged.of.judge("Decode", "south", tally(20, 20), live=True, session=3)
    assert judged.failing == ["south"]


def test_a_live_camera_is_judged_by_its_recent_frames():
    judged = Judged().opened("north", "south")
    hours = tally(90_000, 60)
    judged.of.judge("Detect", "south", hours, live=False)
    assert judged.failing == []
    judged.of.judge("Detect", "south", hours, live=True)
    assert judged.failing == ["south"]


def test_a_camera_that_was_well_and_fails_gets_another_chance_though_it_is_the_only_one():
    judged = Judged().opened("north")
    broken = tally(100, 60)
    judged.of.judge("Detect", "north", broken, live=True, session=0)
    assert (judged.fatal, judged.failing) == (0, ["north"])
    for _ in range(20):
        broken.add(ValueError("no"))
    judged.of.judge("Detect", "north", broken, live=True, session=1)
    assert judged.fatal == 1


def test_a_camera_on_which_the_operator_works_again_does_not_fail(caplog):
    judged = Judged().opened("north", "south")
    mixed = tally(20, 20)
    judged.of.judge("Detect", "south", mixed, live=True, session=0)
    for _ in range(20):
        mixed.add()
    judged.of.judge("Detect", "south", mixed, live=True, session=1)
    assert judged.of.of_camera("south") is None
    assert "south works again in Detect" in caplog.text


def test_the_most_frequent_cause_is_named():
    judged, made = Judged().opened("north"), tally(20, 10, ValueError("rare"))
    for _ in range(20):
        made.add(OSError("frequent"))
    judged.of.judge("Detect", "north", made, live=False)
    assert re.search(r"30 of 40 frames .* OSError: frequent", str(judged.of.error))


@pytest.mark.parametrize("write", [lambda a: a.fill(0), lambda a: cv2.line(a, (0, 0), (1, 1), 1)])
def test_writing_into_a_picture_is_told_how_to_mend(write):
    image = np.zeros((4, 4, 3), np.uint8)
    image.setflags(write=False)
    with pytest.raises((ValueError, cv2.error)) as caught:
        write(image)
    said = described(caught.value)
    assert "change frame.image.copy() and give frame.replace(image=...)" in said
    assert "\n" not in said


def test_causes_that_differ_from_frame_to_frame_do_not_pile_up():
    made = Tally()
    for number in range(10 * CAUSES_KEPT):
        made.add(ValueError(f"frame {number}"))
    assert (made.failed, len(made.causes)) == (10 * CAUSES_KEPT, CAUSES_KEPT)


def test_the_first_error_is_the_one_that_ended_the_run():
    judged = Judged()
    first, second = UserError("first"), UserError("second")
    judged.of.end_run(first)
    judged.of.end_run(second)
    assert judged.of.error is first
    assert judged.fatal == 2


def test_the_run_goes_on_until_its_last_camera_failed(caplog):
    judged, error = Judged(), SourceError("gone", "no such camera")
    judged.of.camera_opened("north")
    judged.of.camera_opened("south")
    judged.of.camera_failed("north", error)
    assert (judged.fatal, judged.of.of_camera("north"), judged.of.of_camera("south")) == (0, error, None)
    assert "no such camera" in caplog.text
    judged.of.camera_failed("south", error)
    assert (judged.fatal, judged.of.error) == (1, error)


def test_a_camera_that_comes_again_has_not_failed():
    judged = Judged()
    for camera in ("north", "south"):
        judged.of.camera_opened(camera)
    judged.of.camera_failed("north", SourceError("gone", "no such camera"))
    judged.of.camera_opened("north")
    judged.of.camera_failed("south", SourceError("gone", "no such camera"))
    assert judged.of.of_camera("north") is None
    assert judged.fatal == 0


def test_an_exception_of_a_camera_is_one_sentence_and_its_traceback_is_logged(caplog):
    judged = Judged()
    judged.of.camera_opened("north")
    judged.of.camera_failed("north", ZeroDivisionError("by zero"))
    assert isinstance(judged.of.error, RunError)
    assert str(judged.of.error) == "north: ZeroDivisionError: by zero"
    assert any(record.exc_info for record in caplog.records)
