"""One continuous timeline, whatever the stamps of a stream do; the clock is the test's own."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import pytest

from flowedge.video.timeline import Timeline, TimeSource

STEP = 0.04
HOURS = 37_600.0
Stamps = tuple[float | None, float | None]


def placed(
    clock: TimeSource, stamps: Iterable[float | Stamps | None], *, arrives: float = STEP, fps: float = 25
) -> tuple[Timeline, list[float]]:
    """The places of packets with these stamps (one for both, or presentation and decoding), arriving evenly."""
    line, media = Timeline(clock, fps), []
    for number, stamp in enumerate(stamps):
        pts, dts = stamp if isinstance(stamp, tuple) else (stamp, stamp)
        media.append(line.place(pts, dts, 1000 + number * arrives).media)
    return line, media


def evenly(count: int, step: float = STEP) -> list[float]:
    return [number * step for number in range(count)]


@pytest.mark.parametrize("clock", [TimeSource.STAMPS, TimeSource.CHECKED])
def test_sound_stamps_count_from_the_first(clock):
    line, media = placed(clock, [7 + stamp for stamp in evenly(100)])
    assert media == pytest.approx(evenly(100))
    assert line.corrected == 0


@pytest.mark.parametrize("clock", [TimeSource.STAMPS, TimeSource.CHECKED])
@pytest.mark.parametrize(
    ("wrong", "corrected"),
    [
        (lambda n, stamp: stamp + HOURS * (n % 50 == 49), 5),  # a stray stamp, and the way back from it
        (lambda n, stamp: stamp + HOURS * (n >= 75), 1),  # the clock leaps
        (lambda n, stamp: stamp - HOURS * (n >= 75), 1),  # the clock is set back
        (lambda n, stamp: stamp % 2, 2),  # recordings joined, an HLS discontinuity
    ],
)
def test_a_leap_counts_as_the_usual_interval(clock, wrong, corrected):
    line, media = placed(clock, [wrong(n, stamp) for n, stamp in enumerate(evenly(150))])
    assert media == pytest.approx(evenly(150))
    assert line.corrected in (corrected, corrected + 1)


def test_a_stream_begins_with_the_picture_that_is_shown_first():
    """As after a cut in the midst of reordered pictures, whose first in the file is shown third."""
    line = Timeline(TimeSource.STAMPS, fps=25, start=7.0)
    stamps = [(7.08, 6.92), (7.0, 6.96), (7.04, 7.0), (7.2, 7.04), (7.12, 7.08), (7.16, 7.12)]
    media = [line.place(pts, dts, 0.0).media for pts, dts in stamps]
    assert media == pytest.approx([0.08, 0, 0.04, 0.2, 0.12, 0.16])
    far = Timeline(TimeSource.STAMPS, fps=25, start=-HOURS)
    assert far.place(7.08, 6.92, 0.0).media == 0


@pytest.mark.parametrize("clock", [TimeSource.STAMPS, TimeSource.CHECKED])
@pytest.mark.parametrize("stray", [HOURS, -HOURS])
def test_a_first_picture_that_is_shown_hours_from_its_decoding_is_not_believed(clock, stray):
    stamps = evenly(100)
    _, media = placed(clock, [(stamp + stray * (stamp == 0), stamp) for stamp in stamps])
    assert media == pytest.approx(stamps)


def test_equal_stamps_advance_at_the_usual_interval():
    line, media = placed(TimeSource.CHECKED, [0.0] * 200)
    assert media[1:25] == pytest.approx(evenly(25)[1:])
    assert media[-1] == pytest.approx(199 * STEP, abs=0.1)
    assert line.corrected == 199


@pytest.mark.parametrize("pace", [0.5, 2.0])
def test_stamps_at_another_pace_give_way_to_the_arrivals(pace):
    line, media = placed(TimeSource.CHECKED, evenly(500, STEP * pace))
    assert all(later > earlier for earlier, later in pairwise(media))
    assert media[-1] - media[100] == pytest.approx(399 * STEP, rel=0.01)
    if pace < 1:  # what was lost before it was found out is made up for
        assert media[-1] == pytest.approx(499 * STEP, abs=0.1)
    assert line.corrected > 400


def test_a_network_that_stands_still_and_catches_up_is_no_wrong_clock():
    line = Timeline(TimeSource.CHECKED, 25)
    arrivals = [max(stamp, 7.0) if 4 < stamp < 7 else stamp for stamp in evenly(400)]
    media = [line.place(stamp, stamp, at).media for stamp, at in zip(evenly(400), arrivals, strict=True)]
    assert media == pytest.approx(evenly(400))
    assert line.corrected == 0


def test_a_gap_is_believed_where_the_pictures_came_as_late():
    line = Timeline(TimeSource.CHECKED, 25)
    stamps = [*evenly(50), *(20 + stamp for stamp in evenly(50))]
    assert [line.place(stamp, stamp, 5 + stamp).media for stamp in stamps] == pytest.approx(stamps)
    assert line.corrected == 0


def test_a_recording_of_a_picture_a_minute_keeps_its_pace():
    line, media = placed(TimeSource.STAMPS, evenly(10, 60.0), fps=1 / 60)
    assert media == pytest.approx(evenly(10, 60.0))
    assert line.corrected == 0


def test_without_real_stamps_the_arrivals_count():
    line, media = placed(TimeSource.ARRIVAL, evenly(20), arrives=0.2)
    assert media == pytest.approx(evenly(20, 0.2))
    assert line.corrected == 0


def test_without_any_stamps_the_rate_counts():
    _, media = placed(TimeSource.STAMPS, [None] * 10, fps=10)
    assert media == pytest.approx(evenly(10, 0.1))


@pytest.mark.parametrize(
    "stamps",
    [
        [(0, -2), (4, -1), (2, 0), (1, 1), (3, 2), (8, 3), (6, 4), (5, 5), (7, 6)],  # MP4
        [(0, None), (4, None), (2, 0), (1, 1), (3, 2), (8, 3), (6, 4), (5, 5), (7, 6)],  # Matroska
        [(0, None), (4, None), (2, None), (1, None), (3, None), (8, None), (6, None), (5, None), (7, None)],
        [(None, None), (4, None), (2, None), (1, 1), (3, 2), (8, 3), (6, 4), (5, 5), (7, 6)],  # RTSP
    ],
)
@pytest.mark.parametrize("clock", [TimeSource.STAMPS, TimeSource.CHECKED])
def test_reordered_pictures_keep_their_own_times(clock, stamps):
    in_seconds = [tuple(None if stamp is None else stamp * STEP for stamp in pair) for pair in stamps]
    line, media = placed(clock, in_seconds)
    assert media == pytest.approx([place * STEP for place in (0, 4, 2, 1, 3, 8, 6, 5, 7)])
    assert line.corrected == 0


@pytest.mark.parametrize("source", [TimeSource.STAMPS, TimeSource.CHECKED])
def test_packets_without_a_stamp_lie_between_those_that_have_one(source):
    line, media = placed(source, [0, None, 0.08, None, None, 0.2, 0.24])
    assert media == pytest.approx([0, 0.04, 0.08, 0.12, 0.16, 0.2, 0.24])
    assert line.corrected == 0


@pytest.mark.parametrize("fps", [10, 25, 60])
def test_time_never_turns_back_where_stamps_are_missing(fps):
    line, media = placed(TimeSource.STAMPS, [0, None, 0.04, None, 0.08, None, None, 0.14], fps=fps)
    assert media == sorted(media)
    assert media[2] == pytest.approx(max(0.04, media[1]))
    assert line.corrected == 0


def test_the_reason_is_given_with_the_place():
    line = Timeline(TimeSource.STAMPS, 25)
    line.place(0, 0, 0.0)
    assert line.place(HOURS, HOURS, 0.0).correction == "a step of 37600 s"
