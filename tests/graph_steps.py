"""Small operators of every kind, for tests of graphs that never run."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from flowedge import Detections, Frame, Gather, Graph, Operator, Sink, Source, Split, State, Stream, Tracks

D = TypeVar("D", bound=Detections)
T = TypeVar("T")


@dataclass
class Camera(Source[Frame]):
    def read(self, camera: str, stop: threading.Event) -> Iterator[Frame]:
        yield from ()


@dataclass
class Behind(Operator[Frame, Frame]):
    """Gives each frame when the next one comes."""

    delayed = True

    def process(self, frame: Frame, /) -> Frame | None:
        return None


@dataclass
class Scale(Operator[Frame, Frame]):
    width: int = 640
    factor: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("width", self.width > 0, "a number of pixels above 0")

    def process(self, frame: Frame, /) -> Frame:
        return frame


@dataclass
class Slice(Split[Frame, Frame]):
    tiles: int = 2

    def split(self, frame: Frame, /) -> Sequence[Frame]:
        return [frame] * self.tiles


@dataclass
class Detect(Operator[Frame, Detections]):
    model: str = "small"
    size: int = 640
    classes: Sequence[str] = ()

    def process(self, frame: Frame, /) -> Detections:
        raise NotImplementedError


@dataclass
class Merge(Gather[Detections, Detections]):
    def gather(self, parts: Sequence[Detections], /) -> Detections:
        return parts[0]


@dataclass
class Track(Operator[Detections, Tracks]):
    state = State.PER_CAMERA

    zones: Mapping[str, Sequence[tuple[int, int]]] = field(default_factory=dict)

    def process(self, found: Detections, /) -> Tracks:
        raise NotImplementedError


@dataclass
class Keep(Operator[D, D]):
    """Gives the kind of detections that it takes."""

    def process(self, found: D, /) -> D:
        return found


@dataclass
class Pass(Operator[T, T]):
    def process(self, value: T, /) -> T:
        return value


@dataclass
class Draw(Operator[tuple[Frame, Detections], Frame]):
    def process(self, pair: tuple[Frame, Detections], /) -> Frame:
        return pair[0]


@dataclass
class Both(Operator[Frame, tuple[Frame, Detections]]):
    """An operator with two results."""

    def process(self, frame: Frame, /) -> tuple[Frame, Detections]:
        raise NotImplementedError


@dataclass
class Film(Sink[Frame]):
    path: str | Path = "film.mp4"

    def write(self, frame: Frame, /) -> None:
        pass


@dataclass
class Lines(Sink[Detections]):
    def write(self, found: Detections, /) -> None:
        pass


@dataclass
class Drop(Sink[object]):
    def write(self, value: object, /) -> None:
        pass


@dataclass
class Odd(Sink[object]):
    """A sink whose field may be anything, also what is not data."""

    value: Any = None

    def write(self, value: object, /) -> None:
        pass


def camera(graph: Graph, name: str = "north", step: str = "Camera") -> Stream[Frame]:
    """The frames of one camera."""
    return graph.source(Camera({name: f"rtsp://${{CAM_PASS}}@10.0.0.5/{name}"}, name=step))
