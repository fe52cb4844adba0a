"""The synthetic street as a source: what its address asks for, and the truth beside its frames."""

from __future__ import annotations

import threading
import time
from itertools import islice

import numpy as np
import pytest

from flowedge import ConfigError, Frame, Graph, Tracks
from flowedge.operators.street import Street, StreetView, street
from flowedge.operators.video import Video

SMALL = "street://?people=3&vehicles=1&width=128&height=96&seconds=0.4&noise=0"


def test_frames_and_truth_share_their_origins():
    pairs = list(Street({"camera": SMALL}).read("camera", threading.Event()))
    assert [frame.origin.index for frame, _ in pairs] == list(range(10))
    assert all(frame.origin is truth.origin for frame, truth in pairs)
    assert pairs[5][0].origin.media == 0.2
    assert all(frame.image.shape == (96, 128, 3) for frame, _ in pairs)
    assert any(len(truth) and set(truth.labels) <= {"person", "car", "bus", "truck"} for _, truth in pairs)
    assert all(((truth.scores > 0) & (truth.scores <= 1)).all() for _, truth in pairs)


def test_the_same_seed_gives_the_same_street_and_video_shows_it():
    pairs = Street({"camera": SMALL}).read("camera", threading.Event())
    frames = Video({"camera": SMALL}).read("camera", threading.Event())
    for (left, _), right in zip(pairs, frames, strict=True):
        assert isinstance(right, Frame)
        assert np.array_equal(left.image, right.image)


def test_the_helper_gives_two_streams():
    graph = Graph("example")
    frames, truth = street(graph, {"north": SMALL})
    assert (graph.carried(frames.wire), graph.carried(truth.wire)) == (Frame, Tracks)
    assert [node.name for node in graph.nodes] == ["street"]


def test_a_live_street_keeps_time_and_goes_on():
    source, stop = Street({"camera": SMALL.replace("seconds=0.4", "live=1")}), threading.Event()
    began = time.monotonic()
    frames = [frame for frame, _ in islice(source.read("camera", stop), 12)]
    assert source.live("camera")
    assert time.monotonic() - began >= 11 / 25
    assert frames[-1].origin.index == 11


def test_stop_ends_a_waiting_street_at_once():
    stop = threading.Event()
    values = Street({"camera": "street://?width=64&height=64&fps=0.1&live=1"}).read("camera", stop)
    next(values)
    threading.Timer(0.1, stop.set).start()
    began = time.monotonic()
    assert next(values, None) is None
    assert time.monotonic() - began < 9  # the next picture is due after 10 s


def test_defaults():
    assert StreetView.parse("street://") == StreetView()
    assert StreetView.parse("street://?people=3&fps=12.5") == StreetView(people=3, fps=12.5)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("street://?peple=3", 'a street has no peple; did you mean "people"?'),
        ("street://?people=many", "people=many is not a whole number from 0 to 2000"),
        ("street://?width=8", "width=8 is not a whole number from 64 to 4096"),
        ("street://?fps=nan", "fps=nan is not a number from 0.1 to 240"),
        ("street://north", "a street has parameters only"),
        ("rtsp://10.0.0.5/", 'an address must begin with "street://"'),
    ],
)
def test_a_wrong_address_is_explained(url, says):
    with pytest.raises(ConfigError) as error:
        Street({"camera": url})
    assert says in str(error.value)
