"""The memory that a step adds, whatever was measured in the process before."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from flowedge import Frame, Graph, Operator
from flowedge.operators import Null, video
from flowedge.planner.model.profiles import setting
from flowedge.profiling.fitting import profiles_of
from flowedge.profiling.measure import measure
from flowedge.profiling.memory import MemoryMeter, anonymous_bytes

VIEW = "street://?width=160&height=120&people=2&vehicles=1&seconds=4&fps=5"
MIB = 2**20

pytestmark = pytest.mark.skipif(anonymous_bytes() == 0, reason="the system does not say what is resident")


@dataclass
class Weights(Operator[Frame, Frame]):
    """Holds so many MiB from its setup on, and as many again for as long as it works on a frame."""

    mib: int = 64
    held: list[np.ndarray] = field(default_factory=list, init=False, repr=False)

    def setup(self) -> None:
        self.held = [np.ones(self.mib * MIB, np.uint8)]

    def process(self, frame: Frame, /) -> Frame:
        self.scratch = np.ones(self.mib * MIB, np.uint8)
        return frame

    def close(self) -> None:
        self.held = []


def test_what_a_step_holds_and_works_with_is_its_memory() -> None:
    graph = Graph("heavy")
    video(graph, VIEW) >> Weights(64) >> Null()
    found = {step.operator: step.memory / MIB for step in measure(graph, (), 1, 8).times}
    assert 120 <= found["Weights"] < 160
    assert found["Null"] < 30


def test_variants_are_told_apart_whatever_was_measured_before() -> None:
    meter = MemoryMeter()
    found = {}
    for mib in (48, 16, 32):
        graph = Graph("heavy")
        video(graph, VIEW) >> Weights(mib) >> Null()
        found[mib] = measure(graph, setting(mib=mib), 1, 8, meter=meter)
    memory = {mib: found[mib].times[1].memory / MIB for mib in found}
    assert memory[16] < memory[32] < memory[48]
    services = profiles_of(list(found.values()), "pi").services
    assert {each.memory for each in services if each.operator == "Weights"} == {
        each.times[1].memory for each in found.values()
    }


def test_what_a_kind_of_step_leaves_in_the_process_counts_for_each_of_its_kind() -> None:
    kept = []

    def first_of_its_kind() -> int:
        if not kept:
            kept.append(np.ones(32 * MIB, np.uint8))  # as a library that is loaded once
        return anonymous_bytes()

    meter = MemoryMeter()
    first, second = meter.added(Weights, first_of_its_kind), meter.added(Weights, first_of_its_kind)
    assert 30 * MIB < first < 40 * MIB
    assert abs(first - second) < 4 * MIB
