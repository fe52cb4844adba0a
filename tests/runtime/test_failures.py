"""When failures are too many, which error ends the run, and which ends only a camera."""

from __future__ import annotations

import pytest

from flowedge.errors import RunError, SourceError, UserError
from flowedge.runtime.failures import CAUSES_KEPT, Failures, Tally


class Judged:
    """Failures that count how often they ended the run."""

    def __init__(self, max_share: float = 0.5) -> None:
        self.fatal = 0
        self.of = Failures(max_share=max_share, judged_after=20, on_fatal=self._end)

    def _end(self) -> None:
        self.fatal += 1


def tally(count: int, failed: int, error: Exception | None = None) -> Tally:
    made = Tally(count)
    for _ in range(failed):
        made.add_failure(error or ValueError("no"))
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
def test_an_operator_is_judged_by_the_share_that_failed(count, failed, max_share, final, ends):
    failures = Judged(max_share).of
    if not ends:
        failures.judge("Detect", [tally(count, failed)], final=final)
        return
    with pytest.raises(UserError, match=rf"Detect failed on {failed} of {count} frames .*: ValueError: no"):
        failures.judge("Detect", [tally(count, failed)], final=final)


def test_the_most_frequent_cause_over_all_cameras_is_named():
    north, south = tally(20, 10, ValueError("rare")), tally(20, 20, OSError("frequent"))
    with pytest.raises(UserError, match=r"30 of 40 frames .* OSError: frequent"):
        Judged().of.judge("Detect", [north, south])


def test_causes_that_differ_from_frame_to_frame_do_not_pile_up():
    made = Tally()
    for number in range(10 * CAUSES_KEPT):
        made.add_failure(ValueError(f"frame {number}"))
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
