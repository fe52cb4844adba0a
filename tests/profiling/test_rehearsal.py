"""Settings tried in a process beside the run, and how results of two settings are compared."""

from __future__ import annotations

import pytest

from flowedge import Detections, Graph, Origin, choose
from flowedge.errors import RunError
from flowedge.operators import Crop, Null, Resize, video
from flowedge.profiling.measure import WARM
from flowedge.profiling.rehearsal import Rehearsal, agreement
from flowedge.testing import frames

COUNT = WARM + 2


def found(*boxes: list[int], score: float = 0.9) -> Detections:
    count = len(boxes)
    return Detections(Origin("north"), boxes, [score] * count, [0] * count, ("person",))


def test_a_setting_is_measured_in_a_process_of_its_own_and_a_failure_is_one_sentence():
    graph = Graph("small")
    video(graph, "street://?live=1") >> Resize(choose("width", 64, 32)) >> Crop(0, 0, 48, 8) >> Null()
    with Rehearsal(graph) as rehearsal:
        given = frames(COUNT, 96, 48)
        known = rehearsal.try_setting((("width", 64),), {"video": given})
        assert {step.operator for step in known.measurement.times} == {"Decode", "Resize", "Crop"}
        assert known.results == ()
        rehearsal.take_time()
        with pytest.raises(RunError, match="frames came; more than"):
            rehearsal.try_setting((("width", 64),), {"video": given[:WARM]})
        again = rehearsal.try_setting((("width", 32),), {"video": given})
        assert again.measurement.setting == (("width", 32),)
    with pytest.raises(RunError, match="settings cannot be tried"):
        rehearsal.try_setting((("width", 64),), {"video": given})


@pytest.mark.parametrize(
    ("one", "other", "f1"),
    [
        (found([0, 0, 9, 9]), found([0, 0, 9, 9]), 1.0),
        (found([0, 0, 9, 9]), found([0, 0, 9, 9], [20, 0, 29, 9]), 2 / 3),
        (found([40, 40, 49, 49]), found([0, 0, 9, 9]), 0.0),
        (found(), found(), 1.0),
        (found(), found([0, 0, 9, 9]), 0.0),
        (found([0, 0, 9, 9], score=0.1), found(), 1.0),
    ],
)
def test_agreement_is_f1_of_what_is_certain(one: Detections, other: Detections, f1: float):
    assert agreement([one], [other]) == pytest.approx(f1)
