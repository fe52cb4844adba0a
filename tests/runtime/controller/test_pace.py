"""When a graph is planned anew."""

from __future__ import annotations

from dataclasses import replace

from flowedge.runtime.controller.adaptation import Situation
from flowedge.runtime.controller.pace import LOOK_SECONDS, SETTLED_SECONDS, Pace

GOAL = 0.2


def now(latency: float, cameras: int = 1) -> Situation:
    return Situation((), {}, {"door": [10.0] * cameras}, latency)


def test_a_missed_goal_is_a_reason_once_the_last_change_has_settled():
    pace = Pace(GOAL)
    pace.changed(100.0, more=False)
    assert [pace.reason(second, now(0.25)) for second in (101.0, 102.0)] == [None, None]
    assert pace.reason(100.0 + SETTLED_SECONDS, now(0.25)) == "latency 250 ms, above the goal of 200 ms"


def test_one_window_that_just_misses_the_goal_is_no_reason():
    pace = Pace(GOAL)
    pace.changed(100.0, more=False)
    pace.reason(106.0, now(0.1))
    reasons = [pace.reason(107.0 + second, now(0.25 if second % 2 else 0.1)) for second in range(4)]
    assert reasons == [None] * 4


def test_a_goal_missed_by_far_does_not_wait_long():
    pace = Pace(GOAL)
    pace.changed(100.0, more=False)
    assert pace.reason(101.0, now(0.4)) is None  # frames that waited during the change
    assert pace.reason(102.0, now(0.4)) is not None


def test_a_single_slow_frame_is_no_reason_to_hurry():
    pace = Pace(GOAL)
    pace.changed(100.0, more=False)
    slow = replace(now(0.5), mean=0.1)
    assert [pace.reason(106.0, slow), pace.reason(107.0, now(0.1))] == [None, None]
    assert pace.reason(108.0, replace(slow, mean=0.3)) is not None


def test_cameras_that_come_or_go_are_a_reason():
    pace = Pace(GOAL)
    pace.changed(100.0, more=False)
    assert pace.reason(101.0, now(0.1, cameras=4)) is None
    assert pace.reason(102.0, now(0.1, cameras=8)) == "8 cameras instead of 4"
    assert pace.reason(102.5, now(0.1, cameras=8)) is None


def test_now_and_then_more_is_asked_for_with_room_to_spare():
    pace = Pace(GOAL)
    pace.changed(100.0, more=False)
    asked = [second for second in range(101, 131) if pace.reason(float(second), now(0.1))]
    assert asked == list(range(104, 131, int(LOOK_SECONDS)))


def test_more_that_went_wrong_is_not_asked_for_again_at_once_and_ever_later():
    pace, time, waits = Pace(GOAL), 100.0, []
    for _ in range(4):
        pace.changed(time, more=True)
        assert pace.reason(time + 2, now(0.4)) is not None
        pace.changed(time + 2, more=False)
        second = time + 2
        while pace.reason(second, now(0.1)) is None:
            second += 1
        waits.append(second - time)
        time = second
    assert waits == sorted(waits)
    assert waits[-1] >= 4 * waits[0]


def test_without_a_goal_nothing_is_too_slow():
    pace = Pace(float("inf"))
    pace.changed(0.0, more=False)
    assert pace.reason(1.0, now(1e6)) is None


def test_frames_that_are_lost_are_a_missed_goal():
    pace = Pace(GOAL)
    pace.changed(100.0, more=False)
    lossy = replace(now(0.1), lost=0.1)
    assert [pace.reason(100.0 + SETTLED_SECONDS + second, lossy) for second in range(2)] == [
        None,
        "10% of the frames are lost",
    ]


def test_what_went_wrong_may_be_tried_again_under_less_load():
    pace = Pace(GOAL)
    pace.changed(100.0, more=True)
    pace.reason(102.0, now(0.4, cameras=8))
    pace.changed(102.0, more=False)
    assert [pace.reason(float(second), now(0.1, cameras=8)) for second in range(103, 115)] == [None] * 12
    asked = [pace.reason(float(second), now(0.1, cameras=4)) for second in range(115, 123)]
    assert asked[0] == "4 cameras instead of 8"
    assert "there may be room for more" in asked[1:]


def test_a_plan_that_changes_nothing_is_not_made_again_every_second():
    pace = Pace(GOAL)
    pace.changed(100.0, more=False)
    planned = []
    for second in range(102, 122):
        if pace.reason(float(second), now(0.4)):
            planned.append(second)
            pace.unchanged(float(second))
    assert planned == list(range(102, 122, int(LOOK_SECONDS)))


def test_more_is_not_asked_for_where_the_goal_has_not_been_kept_for_a_while():
    pace = Pace(GOAL)
    pace.changed(100.0, more=False)
    assert not any(
        pace.reason(100.0 + second, now(0.25 if second % 4 == 0 else 0.1)) for second in range(1, 40)
    )
