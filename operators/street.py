"""The synthetic street as a camera, with or without the exact truth about what it shows."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Self
from urllib.parse import parse_qsl

from flowedge import ConfigError, Frame, Graph, Source, Stream, Tracks, unzip
from flowedge.graph.knobs import suggestion
from flowedge.video.playback import Playback

_RECORDED_SECONDS = 12.0  # length of a street that is not live and does not say
_LIMITS = {
    "people": (0, 2000),
    "vehicles": (0, 2000),
    "width": (64, 4096),
    "height": (64, 4096),
    "fps": (0.1, 240),
    "seed": (0, 2**63 - 1),
    "seconds": (0.001, 1e9),
    "noise": (0, 64),
    "live": (0, 1),
}


@dataclass(frozen=True, slots=True)
class StreetView:
    """What a street URL asks for.

    `people` and `vehicles` count those that are about; `width` and `height` are in pixels, `fps` in frames
    per second, `noise` is the standard deviation of the sensor noise in grey levels. Without `seconds` a
    live street goes on for ever and another one lasts 12 s.

    >>> StreetView.parse("street://?people=3&seed=7").people
    3
    """

    people: int = 12
    vehicles: int = 5
    width: int = 1280
    height: int = 720
    fps: float = 25.0
    seed: int = 0
    seconds: float | None = None
    noise: float = 2.0
    live: int = 0

    @classmethod
    def parse(cls, url: str) -> Self:
        """Read a URL like "street://?people=12&live=1"; raises `ConfigError` for what it does not know."""
        place, _, query = url.removeprefix("street://").partition("?")
        if place:
            raise ConfigError(f"{url}: a street has parameters only, e.g. street://?people=12&fps=25")
        values: dict[str, float] = {}
        for name, text in parse_qsl(query, keep_blank_values=True):
            if name not in _LIMITS:
                raise ConfigError(f"{url}: a street has no {name}{suggestion(name, _LIMITS)}")
            values[name] = _number(url, name, text)
        return cls(**values)  # type: ignore[arg-type]


@dataclass
class Street(Source[tuple[Frame, Tracks]]):
    """Synthetic streets: frames with exact ground truth, the identities and boxes of all that is visible.

    The score of a track is the share of the object (0..1) that nothing hides. `cameras` maps names to
    addresses like "street://?people=12&vehicles=5&width=1280&height=720&fps=25&seed=0&seconds=12&noise=2";
    with "live=1" it plays at its own pace and for ever, like a camera. Raises `ConfigError` for an address
    that is no street.
    """

    def __post_init__(self) -> None:
        Source.__post_init__(self)
        for url in self.cameras.values():
            if not url.startswith("street://"):
                raise ConfigError(f'{type(self).__name__}.cameras: an address must begin with "street://"')
            StreetView.parse(url)

    def live(self, camera: str) -> bool:
        return StreetView.parse(self.cameras[camera]).live == 1

    def read(self, camera: str, stop: threading.Event) -> Iterator[tuple[Frame, Tracks]]:
        view = StreetView.parse(self.cameras[camera])
        return read_street(camera, view, stop, live=self.live(camera))


def street(
    graph: Graph, cameras: str | Mapping[str, str] = "street://", *, name: str = "street"
) -> tuple[Stream[Frame], Stream[Tracks]]:
    """Begin a graph at a synthetic street: its frames, and the truth about them as tracks.

    One address becomes the camera "camera".

    >>> frames, truth = street(Graph("example"), "street://?people=3")
    """
    named = {"camera": cameras} if isinstance(cameras, str) else cameras
    return unzip(graph.source(Street(named, name=name)))


def read_street(
    camera: str, view: StreetView, stop: threading.Event, *, live: bool
) -> Iterator[tuple[Frame, Tracks]]:
    """Yield the street's frames and truth. A live one leaves out the moments it is too slow to draw."""
    from flowedge.video.synthetic.scene import CLASSES, Scene

    scene = Scene(view.width, view.height, view.people, view.vehicles, view.seed, view.noise)
    seconds = view.seconds or (float("inf") if live else _RECORDED_SECONDS)
    playback = Playback(camera, stop, paced=live)
    index = tick = 0
    while (moment := tick / view.fps) < seconds and playback.reaches(moment):
        picture, truth = scene.render(moment)
        origin = playback.origin(index, moment, view.width, view.height)
        found = Tracks(origin, truth.boxes, truth.visibility, truth.classes, CLASSES, ids=truth.ids)
        yield Frame(origin, picture), found
        index, tick = index + 1, tick + 1
        if live:
            tick = max(tick, int(playback.elapsed * view.fps))


def _number(url: str, name: str, text: str) -> float:
    least, most = _LIMITS[name]
    whole = name in _WHOLE
    try:
        value = int(text) if whole else float(text)
    except ValueError:
        value = -1
    if not least <= value <= most:
        kind = "whole number" if whole else "number"
        raise ConfigError(f"{url}: {name}={text} is not a {kind} from {least:g} to {most:g}")
    return value


_WHOLE = {item.name for item in fields(StreetView) if item.type == "int"}
