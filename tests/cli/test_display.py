"""What a run looks like: knobs in force, the last decision, the goal, and a summary in few lines."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from rich.console import Console

from flowedge.cli.display import lines, progress, summary, tables
from flowedge.monitor.report import (
    CameraReport,
    Decision,
    GoalReport,
    Measured,
    OperatorReport,
    Report,
    WorkerReport,
)

TIMES = {"p50": 10.0, "p95": 20.0, "p99": 30.0}


def camera(size: int | None = 416, route: int = 1, **fields: Any) -> CameraReport:
    counts = {"produced": 9, "delivered": 9, "filtered": 0, "failed": 0, "in_flight": 0}
    values: dict[str, Any] = {
        **counts, "dropped": {}, "failures": {}, "state": "live", "reason": "", "live": True, "fps": 5.0,
        "latency_ms": TIMES, "knobs": {} if size is None else {"size": size}, "route": route, "sinks": {},
        "error": None, **fields,
    }  # fmt: skip
    return CameraReport(**values)


def report(**fields: Any) -> Report:
    values: dict[str, Any] = {
        "graph": "street", "seconds": 12.0, "fps": 10.0, "latency_ms": TIMES, "cpu_seconds": 3.0,
        "peak_rss_bytes": 1 << 20, "cores": 0.5, "cameras": {"north": camera()},
        "operators": {"Detect": OperatorReport(9, 0, 0, 5.0, TIMES, TIMES)}, **fields,
    }  # fmt: skip
    return Report(**values)


DECISION = Decision(
    8.0, "2 cameras instead of 1", {"size=416": 2}, expected_latency=0.12, expected_accuracy=0.91
)


def shown(run: Report, name: str | None = None) -> str:
    console = Console(width=160)
    with console.capture() as capture:
        console.print(tables(run, name), markup=False, highlight=False)
    return capture.get()


def test_knobs_in_force_are_told_of_the_cameras_that_have_them() -> None:
    cameras = {"a": camera(416), "b": camera(512, 2), "c": camera(416)}
    assert "knobs: size=416 for a, c (route 1); size=512 for b (route 2)" in lines(report(cameras=cameras))


def test_many_cameras_are_counted() -> None:
    cameras = {f"c{number}": camera() for number in range(5)}
    assert "knobs: size=416 for 5 cameras (route 1)" in lines(report(cameras=cameras))


def test_a_graph_without_knobs_and_goal_has_no_lines_for_them() -> None:
    assert len(list(lines(report(cameras={"north": camera(None)})))) == 1


def test_the_last_decision_is_told_with_what_was_measured_after_it() -> None:
    measured = Measured(5.0, 10.0, TIMES)
    run = report(decisions=(replace(DECISION, at=1.0), replace(DECISION, measured=measured)))
    assert list(lines(run))[-1] == (
        "last decision, at 8 s: 2 cameras instead of 1: size=416 for 2; 120 ms and accuracy 0.91 expected, "
        "10/20/30 ms (p50/p95/p99) measured"
    )
    assert "last decision, at 8 s" in shown(run)


def test_a_decision_about_places_says_who_works_where() -> None:
    workers = {"Slice": ("w1", "w2"), "Detect": ("w1", "w2"), "Track": ("w1",)}
    went = Decision(3.0, "the lock is taken", workers=workers, expected_fps=20.0)
    assert str(went) == "the lock is taken: Slice and Detect on w1 and w2, Track on w1; 20.0 frames/s expected"
    assert str(Decision(3.0, "it suffices", workers={})) == "it suffices: all in one process"
    late = Decision(3.0, "late", {"size=416": 1}, expected_latency=0.5, reached=False)
    assert str(late) == "late: size=416 for 1; 500 ms expected, as nothing known reaches the goal"


def test_whether_the_goal_is_met() -> None:
    missed = report(goal=GoalReport(250.0, None, 10.0, met=False))
    assert "goal: latency 250 ms, 10 frames/s of every camera: missed" in lines(missed)
    assert "goal latency 250 ms, 10 frames/s of every camera: missed" in progress(missed)
    assert "goal: accuracy 0.6: not measured yet" in lines(report(goal=GoalReport(None, 0.6, None, None)))


def test_the_summary_says_how_often_it_was_planned_anew_and_what_came_of_it() -> None:
    cameras = {"north": camera(), "south": camera(), "east": camera(512)}
    told = list(summary(report(cameras=cameras, decisions=(DECISION,) * 3)))
    assert "3 re-plans; settings at the end: size=416 for 2 cameras, size=512 for 1 camera" in told
    assert not any("re-plan" in line for line in summary(report()))
    cameras = {"north": camera(None)}
    moved = Decision(3.0, "the lock is taken", workers={"Detect": ("w1",)})
    operators = {"Detect": OperatorReport(9, 0, 0, 5.0, TIMES, TIMES, workers=("w1",))}
    told = list(summary(report(cameras=cameras, operators=operators, decisions=(moved,))))
    assert "1 re-plan; Detect on w1" in told


def test_workers_have_a_table_and_a_line_at_the_end() -> None:
    worker = WorkerReport(77, 12.5, 0.75, 3 << 20, 5 << 20, 2, 4, 0.5, "cgroup v1")
    operators = {
        "Detect": OperatorReport(9, 0, 0, 5.0, TIMES, TIMES, workers=("w1", "w2")),
        "Draw": OperatorReport(9, 0, 0, 5.0, TIMES, TIMES, stuck="frame 3 of north for 9 s"),
    }
    run = report(workers={"w1": worker}, operators=operators)
    screen = shown(run, "street (process 3)")
    assert "street (process 3), 12 s" in screen
    for words in ("w1, w2", "here", "Draw (busy with frame 3 of north for 9 s)", "77", "0.75", "12.5"):
        assert words in screen
    used = "12.5 s of processor, 5 MiB, kept to 0.5 cores by cgroup v1"
    assert f"  w1: {used}, died 2 times, 4 frames sent again" in list(summary(run))
    assert "0.5 cores by cgroup v1" in screen


def test_counts_that_are_zero_for_all_cameras_take_no_room() -> None:
    assert "filtered" not in shown(report())
    assert "filtered" in shown(report(cameras={"a": camera(), "b": camera(filtered=1)}))


def test_the_time_in_which_a_graph_waited_for_others_is_told() -> None:
    decisions = [
        Decision(3.0, "others come first", preempted=True),
        Decision(10.0, "its turn", preempted=False),
    ]
    told = list(summary(report(preempted_seconds=7.0, decisions=decisions)))
    assert told[0].startswith("street: 12.0 s (preempted 1 time, 7.0 s), 10.0 frames/s")
    assert not any("re-plan" in line for line in told)
    waiting = report(cameras={"north": camera(state="preempted")})
    assert "north preempted" in progress(waiting)
    assert str(Decision(8.0, "others come first", preempted=True)) == "others come first: preempted"
    assert Report.from_json(waiting.as_json()) == waiting
