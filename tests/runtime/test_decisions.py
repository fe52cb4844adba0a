"""What was measured after a decision stands beside what was expected."""

from __future__ import annotations

import threading

import pytest

from flowedge import Origin
from flowedge.monitor.report import Decision
from flowedge.runtime.decisions import Decisions
from flowedge.runtime.ledger import Ledger
from flowedge.runtime.limits import Limits
from flowedge.runtime.measuring import Measuring


class Street:
    """Ten frames a second of one camera, which take `latency` seconds, and the decisions of its controller."""

    def __init__(self) -> None:
        self.now = 100.0
        self.latency = 0.5
        self.ledger = Ledger(Limits(), clock=self.clock)
        self.ledger.open("north", ["sink"], live=True)
        self.decisions = Decisions(lambda: Measuring({}, self.ledger, self.clock), self.clock)
        self._index = 0

    def clock(self) -> float:
        return self.now

    def go_on(self, seconds: float) -> None:
        for _ in range(round(10 * seconds)):
            self.now += 0.1
            origin = Origin("north", index=self._index, monotonic=self.now - self.latency)
            self._index += 1
            admitted = self.ledger.admit(origin, threading.Event())
            assert admitted is not None
            self.ledger.end(admitted.frame, "sink", None)
            self.decisions.look()


def decision(reason: str = "late") -> Decision:
    return Decision(3.0, reason, {"size=416": 1}, measured_latency=0.5, expected_latency=0.1)


def test_the_first_seconds_after_a_change_are_measured_once_it_has_settled() -> None:
    street = Street()
    street.go_on(2)
    street.decisions.add(decision())
    street.go_on(1.5)  # frames of before are still on their way
    street.latency = 0.1
    street.decisions.look()
    street.go_on(10)
    [done] = street.decisions.so_far()
    assert done.measured is not None
    assert 5 <= done.measured.seconds < 5.5
    assert done.measured.fps == pytest.approx(10, rel=0.05)
    assert done.measured.latency_ms["p50"] == pytest.approx(100, rel=0.02)
    assert (done.reason, done.expected_latency) == ("late", 0.1)


def test_frames_of_before_do_not_count() -> None:
    street = Street()
    street.decisions.add(decision())
    street.go_on(0.9)
    street.latency = 0.1
    street.go_on(8)
    [done] = street.decisions.so_far()
    assert done.measured is not None
    assert done.measured.latency_ms["p99"] == pytest.approx(100, rel=0.02)


@pytest.mark.parametrize(("seconds", "measured"), [(0.5, False), (1.5, False), (3.0, True)])
def test_the_next_decision_ends_the_measurement_of_the_one_before(seconds: float, measured: bool) -> None:
    street = Street()
    street.decisions.add(decision("first"))
    street.go_on(seconds)
    street.decisions.add(decision("second"))
    first, second = street.decisions.so_far()
    assert (first.measured is not None) == measured
    assert second.measured is None
    street.go_on(3)
    street.decisions.conclude()
    assert street.decisions.so_far()[1].measured is not None
