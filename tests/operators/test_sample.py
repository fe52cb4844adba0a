import itertools
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowedge import ConfigError, Frame
from flowedge.operators import Sample
from flowedge.testing import frames, run_operator


def passed(fps: float, source: list[Frame]) -> list[int]:
    return [frame.origin.index for frame in run_operator(Sample(fps), source)]


@settings(max_examples=25, deadline=None)
@given(fps=st.floats(0.5, 24), source_fps=st.floats(25, 60))
def test_the_rate_is_right_in_the_long_run(fps: float, source_fps: float) -> None:
    count = 300
    found = passed(fps, frames(count, 8, 8, fps=source_fps))
    assert len(found) == pytest.approx(count / source_fps * fps, abs=1.01)


@settings(max_examples=25, deadline=None)
@given(fps=st.floats(25, 1000))
def test_a_slower_camera_passes_whole(fps: float) -> None:
    assert passed(fps, frames(50, 8, 8, fps=25)) == list(range(50))


def test_jitter_drops_nothing_at_the_cameras_own_rate() -> None:
    jitter = random.Random(1)
    shaken = [
        Frame(replace(f.origin, media=f.origin.media + jitter.uniform(0, 0.015)), f.picture)
        for f in frames(100, 8, 8, fps=25)
    ]
    assert passed(25, shaken) == list(range(100))


def test_spacing_is_even() -> None:
    found = passed(10, frames(100, 8, 8, fps=25))
    assert {b - a for a, b in itertools.pairwise(found)} == {2, 3}


def test_after_a_gap_the_rate_goes_on() -> None:
    source = frames(200, 8, 8, fps=25)
    found = passed(5, source[:50] + source[150:])
    late = [index for index in found if index >= 150]
    assert len(late) == pytest.approx(10, abs=2)


def test_a_new_session_continues_by_capture_time() -> None:
    first = frames(10, 8, 8, fps=10)
    second = [
        Frame(replace(f.origin, session=1, index=i, time=f.origin.time + 1), f.picture)
        for i, f in enumerate(frames(10, 8, 8, fps=10), start=10)
    ]
    assert passed(2, first + second) == [0, 5, 10, 15]


def test_without_a_stream_clock_capture_time_counts() -> None:
    source = [Frame(replace(f.origin, media=0.0), f.picture) for f in frames(20, 8, 8, fps=10)]
    assert passed(5, source) == list(range(0, 20, 2))


def test_cameras_are_counted_apart() -> None:
    pairs = zip(frames(10, 8, 8, "a", fps=10), frames(10, 8, 8, "b", fps=10), strict=True)
    found = run_operator(Sample(5), [frame for pair in pairs for frame in pair])
    assert [f.origin.index for f in found if f.origin.camera == "a"] == [0, 2, 4, 6, 8]
    assert [f.origin.index for f in found if f.origin.camera == "b"] == [0, 2, 4, 6, 8]


def test_a_rate_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"Sample\.fps"):
        Sample(0)


def test_cameras_have_their_own_rates() -> None:
    step = Sample({"north": 10, "south": 5})
    values = [frame for camera in ("north", "south") for frame in frames(21, 64, 48, fps=20, camera=camera)]
    passed = [frame.origin.camera for frame in run_operator(step, values)]
    assert (passed.count("north"), passed.count("south")) == (11, 6)
