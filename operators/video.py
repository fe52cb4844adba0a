"""Video from anywhere: network and USB cameras, files, folders of pictures, the synthetic street."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from flowedge import Absent, ConfigError, Frame, Graph, Packet, Source, Stream
from flowedge.graph.contract import Detached
from flowedge.graph.knobs import suggestion
from flowedge.operators.decode import Decode
from flowedge.operators.street import StreetView, read_street
from flowedge.outputs import PICTURE_SUFFIXES, InputFiles
from flowedge.secrets import check_user_part, expand, redact
from flowedge.video.camera import Camera
from flowedge.video.ffmpeg import DEVICE, FILE, HTTP, RTSP, Access, Feed, path_of
from flowedge.video.folder import read_pictures
from flowedge.video.playback import Playback

_CAMERAS = ("rtsp", "rtsps", "http", "https", "device")
_SCHEMES = ("rtsp", "rtsps", "http", "https", "file", "street")


@dataclass
class Video(Source[Packet | Frame]):
    """Video of one or more cameras; put a `Decode()` behind it, or use `video`, which does.

    `cameras` maps each name to an address:

    - "rtsp://...", "rtsps://...", "http://..." or "https://..." (HLS, MJPEG, MP4), "/dev/video0": live cameras;
      a single picture ("http://10.0.0.5/snapshot.jpg") is asked for again every second
    - a path or "file:///...": a video file, a picture, or a folder of pictures (jpg, png, bmp, webp, tif)
    - "street://?people=12&live=1": the synthetic street (`StreetView` has its parameters)

    `${NAME}` in an address is an environment variable, read when the camera is opened. `transport` is how RTSP
    pictures come: "tcp", or "udp", which loses packets where "tcp" lags. A camera that does not answer within
    `connect_timeout` seconds is tried again. `trust`, for all cameras or by name, says whose certificate is
    believed on "rtsps://" and "https://": a file of authorities (PEM), or "sha256:..." with the fingerprint of
    the camera's certificate, whoever signed it; empty for the authorities of this machine. With `as_live` True
    files play at their own pace and are delivered like a camera, newest picture first; with False every picture
    of a camera is waited for; None decides by the address.

    Raises `ConfigError` for an address that cannot be right. `read` raises `SourceError` for one that cannot
    be opened, unless it is a camera for which trying again may help.

    >>> from flowedge import Graph
    >>> packets = Graph("example").source(Video({"north": "rtsp://10.0.0.5/street"}, transport="udp"))
    """

    transport: Literal["tcp", "udp"] = "tcp"
    as_live: bool | None = None
    connect_timeout: float = 10.0
    trust: str | Mapping[str, str] = ""
    _notes: Counter[str] = field(init=False, repr=False, compare=False, default_factory=Counter)
    _files: InputFiles = field(init=False, repr=False, compare=False, default_factory=InputFiles)

    def __post_init__(self) -> None:
        Source.__post_init__(self)
        self.require("connect_timeout", self.connect_timeout > 0, "a number of seconds above 0")
        for url in self.cameras.values():
            if not url.startswith("${"):
                _check(url)

    def setup(self) -> None:
        """Protect all cameras' files: another's frames may reach a sink before this one's file is opened."""
        for camera in self.cameras:
            self._address(camera)

    def close(self) -> None:
        self._files.close()

    def notes(self) -> Mapping[str, int]:
        """What was not taken as it came, such as time stamps, in a sentence for each camera, and how often."""
        return dict(self._notes)

    def live(self, camera: str) -> bool:
        if self.as_live is not None:
            return self.as_live
        url = self.cameras[camera]
        if url.startswith("${"):
            url = expand(url)
        return StreetView.parse(url).live == 1 if _kind(url) == "street" else _kind(url) in _CAMERAS

    def read(  # type: ignore[override]
        self, camera: str, stop: threading.Event
    ) -> Iterator[Packet | Frame | Absent | Detached]:
        url, live = self.cameras[camera], self.live(camera)
        address = self._address(camera)
        match _kind(address):
            case "street":
                return (frame for frame, _ in read_street(camera, StreetView.parse(address), stop, live=live))
            case "file" if (path := path_of(address)).is_dir() or _is_picture(path):
                return read_pictures(camera, path, stop, paced=live)
            case "file":
                return _read_file(camera, url, stop, self._notes, paced=live)
            case kind:
                access = self._access(kind, camera)
                return Camera(camera, url, access, self._notes, live=live).read(stop)

    def _address(self, camera: str) -> str:
        """The camera's address with its secrets filled in; its file is protected from now on."""
        try:
            address = expand(self.cameras[camera])
            _check(address)
        except ConfigError as error:
            raise ConfigError(f"{camera}: {error}") from None
        if _kind(address) == "file":
            self._files.add(path_of(address))
        return address

    def _access(self, kind: str, camera: str) -> Access:
        trust = self.trust if isinstance(self.trust, str) else self.trust.get(camera, "")
        match kind:
            case "rtsp" | "rtsps":
                options = {**RTSP.options, "rtsp_transport": self.transport}
                return replace(RTSP, options=options, open_within=self.connect_timeout, trust=trust)
            case "device":
                return DEVICE
            case _:
                return replace(HTTP, open_within=self.connect_timeout, trust=trust)


def video(
    graph: Graph,
    cameras: str | Mapping[str, str],
    *,
    transport: Literal["tcp", "udp"] = "tcp",
    live: bool | None = None,
    connect_timeout: float = 10.0,
    trust: str | Mapping[str, str] = "",
    name: str = "video",
) -> Stream[Frame]:
    """Begin a graph at cameras, files, folders of pictures or synthetic streets, decoded to frames.

    One address becomes the camera "camera"; a mapping gives names. `transport` is for RTSP. `live=True` plays
    a file at its own pace and sheds frames like a camera. A camera that does not answer within
    `connect_timeout` seconds is tried again; `trust` says whose certificate is believed. `Video` lists the
    addresses and raises its errors.
    The decoder is named "Decode", or after a `name` that is given, e.g. "gate.Decode".

    >>> frames = video(Graph("crossing"), {"north": "rtsp://10.0.0.5/street", "south": "south.mp4"})
    """
    named = {"camera": cameras} if isinstance(cameras, str) else cameras
    decode = Decode() if name == "video" else Decode(name=f"{name}.Decode")
    return graph.source(Video(named, transport, live, connect_timeout, trust, name=name)) >> decode


def _kind(url: str) -> str:
    """The scheme of an address: a path's is "file", and that of a camera at this machine "device"."""
    scheme, separator, _ = url.partition("://")
    if separator:
        return scheme.lower()
    return "device" if url.startswith("/dev/video") else "file"


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in PICTURE_SUFFIXES and path.is_file()


def _reason(error: ValueError) -> str:
    """What is wrong with an address, without what it holds."""
    return "a port is a number from 1 to 65535" if "ort" in str(error) else "its host is malformed"


def _check(url: str) -> None:
    """Raise `ConfigError` for an address that cannot be right wherever it is opened."""
    check_user_part(url)
    kind, shown = _kind(url), redact(url)
    if not url:
        raise ConfigError('Video.cameras: an address is empty; give a path or a URL such as "rtsp://10.0.0.5/"')
    if kind not in (*_SCHEMES, "device"):
        raise ConfigError(
            f'Video.cameras: {shown} begins with an unknown scheme "{kind}"{suggestion(kind, _SCHEMES)}'
        )
    if kind == "street":
        StreetView.parse(url)
        return
    if kind not in ("file", "device"):
        try:
            port = urlsplit(url).port
        except ValueError as error:  # its message shows the address no further than its port
            raise ConfigError(f"Video.cameras: {shown} is not an address: {_reason(error)}") from None
        if port == 0:
            raise ConfigError(f"Video.cameras: {shown} has port 0; a port is a number from 1 to 65535")
    if kind == "file" and "://" in url and not url.lower().startswith("file:///"):
        raise ConfigError(f"Video.cameras: {shown} names a host; write file:///path for a file of this machine")
    if kind != "file" and (shown.endswith("://") or ":///" in shown):
        raise ConfigError(f"Video.cameras: {shown} names no host, e.g. {kind}://10.0.0.5/stream")


def _read_file(
    camera: str, url: str, stop: threading.Event, notes: Counter[str], *, paced: bool
) -> Iterator[Packet]:
    with Feed(camera, url, FILE, notes) as feed:
        playback = Playback(camera, stop, paced=paced)
        for index, packet in enumerate(feed.read()):
            moment = feed.place(packet, time.monotonic())
            if not playback.reaches(moment):
                return
            yield feed.packet(packet, playback.origin(index, moment, *feed.size))
