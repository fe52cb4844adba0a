"""What a graph is made of, as data: nodes, each an operator and the wire that feeds it.

A wire says which outputs an operator takes its values from: one output, two joined by frame, one half of an
output that is a pair, or two side by side, for their values to be synchronized.

>>> wire = Pair(Output("Decode"), Half(Output("street"), 1))
>>> steps_of(wire), described(wire)
(('Decode', 'street'), 'join(Decode, street[1])')
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from flowedge.graph.contract import Step
from flowedge.graph.signature import Type


@dataclass(frozen=True)
class Output:
    """The output of the step of this name."""

    step: str


@dataclass(frozen=True)
class Pair:
    """Two wires joined by frame."""

    left: Wire
    right: Wire


@dataclass(frozen=True)
class Half:
    """One half of a wire that carries pairs: its left (0) or its right (1)."""

    of: Wire
    index: int


@dataclass(frozen=True)
class Both:
    """Two wires of different cameras, or twice one, which a `Synchronize` makes pairs of."""

    left: Wire
    right: Wire


Wire: TypeAlias = Output | Pair | Half | Both


@dataclass(frozen=True)
class GraphNode:
    """A step and its place in a graph.

    `input` is the wire that feeds it, None for a source. `tiled`: it works on the parts of a split frame.
    `gives` is the type of its output where it stands (a filter of any value gives what it is fed with), None
    for a sink.
    """

    step: Step
    input: Wire | None
    tiled: bool = False
    gives: Type | None = field(default=None, compare=False, repr=False)  # follows from the step and its input

    @property
    def name(self) -> str:
        return self.step.name

    @property
    def feeders(self) -> tuple[str, ...]:
        """The names of the steps whose outputs it takes, from left to right; none for a source."""
        return () if self.input is None else steps_of(self.input)


def steps_of(wire: Wire) -> tuple[str, ...]:
    """The names of the steps that a wire begins at, each once, from left to right."""
    match wire:
        case Output(step):
            return (step,)
        case Half(of):
            return steps_of(of)
        case Pair(left, right) | Both(left, right):
            return tuple(dict.fromkeys(steps_of(left) + steps_of(right)))


def pairs_of(wire: Wire) -> Iterator[Pair]:
    """The joins of a wire, the outer before the inner."""
    match wire:
        case Half(of):
            yield from pairs_of(of)
        case Pair(left, right):
            yield wire
            yield from pairs_of(left)
            yield from pairs_of(right)
        case Both(left, right):
            for side in dict.fromkeys((left, right)):
                yield from pairs_of(side)


def described(wire: Wire | None) -> str:
    """A wire in the words of an error message; "nothing" for the input of a source."""
    match wire:
        case Output(step):
            return step
        case Half(of, index):
            return f"{described(of)}[{index}]"
        case Pair(left, right):
            return f"join({described(left)}, {described(right)})"
        case Both(left, right):
            sides = dict.fromkeys((described(left), described(right)))
            return f"synchronize({', '.join(sides)})"
    return "nothing"
