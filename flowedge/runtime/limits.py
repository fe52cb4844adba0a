"""How long a run waits, and how much it holds: settings with the defaults that a run has."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """`drain_seconds`: how long a stopping run waits for the frames that are in the graph; no longer where
    only steps that hang are at work.

    `setup_seconds`: how long a run that is stopped before it began waits for operators that still load: no
    frame is at stake. `judged_after`: values that an operator must have seen before its share of failures may
    end the run. `file_window`: frames of a file that may be in the graph at a time, enough to keep every step
    of a pipeline busy. `live_window`: frames of a live camera that may be in the graph; only a stuck step has
    more, as others keep the newest. `held_back`: frames of a camera that a delayed operator may hold back; four
    times what any H.264 or H.265 stream needs. `stalled_after`: how long a live camera may give nothing, or a
    step work on one value, before that is said. `region_seconds`: how long a step between a split and its
    gather, or a fork and its join, may work before the live frames that wait for it are given up; until then
    the live window holds what a camera of 100 frames/s gives. `rate_seconds`: the time over which the rates of
    a running graph are measured. `first_retry`, `longest_retry`: the pause before a failing camera is attached
    again, doubled each time that this does not help. `attempts`: how many in a row must fail before a camera
    that tries to attach by itself counts as failing.
    """

    drain_seconds: float = 10.0
    setup_seconds: float = 1.0
    judged_after: int = 20
    file_window: int = 8
    live_window: int = 1000
    held_back: int = 64
    stalled_after: float = 4.0
    region_seconds: float = 10.0
    rate_seconds: float = 5.0
    first_retry: float = 1.0
    longest_retry: float = 60.0
    attempts: int = 5
