"""The types of operators, read from their classes."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Optional, TypeVar, Union

import pytest

from flowedge import Detections, Faces, Frame, GraphError, Operator, Packet, Sink, Source, Tracks
from flowedge.graph.contract import Step
from flowedge.graph.signature import Signature, applied, fits, readable, signature
from tests.graph_steps import Both, Camera, Detect, Draw, Film, Keep, Merge, Pass, Slice

A = TypeVar("A")
B = TypeVar("B")
E = TypeVar("E", Frame, Packet)


class Base(Operator[A, tuple[A, B]]):
    """Leaves both of its types to a subclass."""

    def process(self, value: A, /) -> tuple[A, B]:
        raise NotImplementedError


@dataclass
class Filled(Base[Frame, Detections]):
    pass


class Inherits(Filled):
    pass


class Labelled(Generic[A]):
    pass


class Mixed(Labelled[int], Filled):
    pass


class Untyped(Operator):  # type: ignore[type-arg]
    def process(self, value: Any, /) -> Any:
        return value


class Either(Operator[E, E]):
    def process(self, value: E, /) -> E:
        return value


class Packets(Source[Packet | Frame]):
    def read(self, camera: str, stop: threading.Event) -> Iterator[Packet | Frame]:
        yield from ()


@pytest.mark.parametrize(
    ("step", "takes", "gives"),
    [
        (Camera({}), None, Frame),
        (Packets({}), None, Packet | Frame),
        (Film(), Frame, None),
        (Detect(), Frame, Detections),
        (Slice(), Frame, Frame),
        (Merge(), Detections, Detections),
        (Both(), Frame, tuple[Frame, Detections]),
        (Filled(), Frame, tuple[Frame, Detections]),
        (Inherits(), Frame, tuple[Frame, Detections]),
        (Mixed(), Frame, tuple[Frame, Detections]),
    ],
)
def test_the_types_of_a_step(step: Step, takes: Any, gives: Any) -> None:
    assert signature(step) == Signature(takes, gives)


def test_a_class_that_does_not_say_its_types_is_told_how() -> None:
    with pytest.raises(GraphError, match=re.escape("write e.g. class Untyped(Operator[...])")):
        signature(Untyped())


@pytest.mark.parametrize(
    ("step", "given", "gives"),
    [
        (Pass(), Frame, Frame),
        (Pass(), tuple[Frame, Detections], tuple[Frame, Detections]),
        (Keep(), Tracks, Tracks),
        (Either(), Packet, Packet),
        (Draw(), tuple[Frame, Tracks], Frame),
        (Film(), Frame, None),
    ],
)
def test_a_type_variable_stands_for_what_is_given(step: Step, given: Any, gives: Any) -> None:
    assert applied(step, given) == gives


@pytest.mark.parametrize(
    ("step", "given"),
    [
        (Keep(), Frame),
        (Either(), Detections),
        (Draw(), Frame),
        (Draw(), tuple[Detections, Frame]),
        (Film(), Packet | Frame),
    ],
)
def test_what_does_not_fit(step: Step, given: Any) -> None:
    with pytest.raises(TypeError):
        applied(step, given)


@pytest.mark.parametrize(
    ("given", "wanted", "answer"),
    [
        (Tracks, Detections, True),
        (Detections, Tracks, False),
        (Frame, object, True),
        (Frame, Any, True),
        (Any, Frame, True),
        (Frame, Packet | Frame, True),
        (Frame, Union[Packet, Frame], True),  # noqa: UP007
        (Frame, Optional[Frame], True),  # noqa: UP045
        (Packet | Frame, Frame, False),
        (Packet | Frame, Frame | Packet | Faces, True),
        (tuple[Frame, Tracks], tuple[object, Detections], True),
        (tuple[Frame, Tracks], tuple[Frame, Detections, Detections], False),
        (tuple[Frame, Frame], tuple[A, A], True),  # type: ignore[valid-type]
        (tuple[Frame, Packet], tuple[A, A], False),  # type: ignore[valid-type]
        (list[Frame], Sequence[Frame], True),
    ],
)
def test_fits(given: Any, wanted: Any, answer: bool) -> None:
    assert fits(given, wanted, {}) is answer


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Frame, "Frame"),
        (Packet | Frame, "Packet | Frame"),
        (tuple[Frame, tuple[Tracks, Faces]], "(Frame, (Tracks, Faces))"),
        (A, "any value"),
        (E, "Frame | Packet"),
    ],
)
def test_types_in_words(kind: Any, words: str) -> None:
    assert readable(kind) == words


def test_a_sink_of_objects_takes_anything() -> None:
    class Anything(Sink[object]):
        def write(self, value: object, /) -> None:
            pass

    assert applied(Anything(), tuple[Frame, Detections]) is None
