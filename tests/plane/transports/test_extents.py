"""The allocator against a model of it: what it gives never overlaps, and what comes back can be had again."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from flowedge.plane.transports.extents import UNIT, Extents

CAPACITY = 24 * UNIT


class Takes(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.extents = Extents(CAPACITY)
        self.taken: dict[int, int] = {}

    def pages(self) -> set[int]:
        return {
            page
            for start, size in self.taken.items()
            for page in range(start // UNIT, (start + size - 1) // UNIT + 1)
        }

    @rule(size=st.integers(1, 8 * UNIT))
    def take(self, size: int) -> None:
        before = self.pages()
        start = self.extents.take(size)
        wanted = -(-size // UNIT)
        runs = [at for at in range(24 - wanted + 1) if not before & set(range(at, at + wanted))]
        assert start == (runs[0] * UNIT if runs else None)  # the lowest place, whenever there is one
        if start is not None:
            self.taken[start] = size

    @precondition(lambda self: self.taken)
    @rule(data=st.data())
    def give(self, data: st.DataObject) -> None:
        start = data.draw(st.sampled_from(sorted(self.taken)))
        self.extents.give(start, self.taken.pop(start))

    @invariant()
    def counts(self) -> None:
        assert self.extents.free == CAPACITY - len(self.pages()) * UNIT

    def teardown(self) -> None:
        for start, size in self.taken.items():
            self.extents.give(start, size)
        assert self.extents.take(CAPACITY) == 0


Takes.TestCase.settings = settings(deadline=None, max_examples=40)
TestTakes = Takes.TestCase
