"""Videos opened with FFmpeg: what is asked of it for each kind of address, and its errors in plain words.

FFmpeg's own exceptions hold the address with its password, so they are never shown, chained or logged.
"""

from __future__ import annotations

import errno
import heapq
import math
import socket
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

import numpy as np

from flowedge import Origin, Packet, SourceError
from flowedge.secrets import expand, redact

if TYPE_CHECKING:
    import av
    from av.container import InputContainer
    from av.video.stream import VideoStream


@dataclass(frozen=True)
class Access:
    """How FFmpeg opens an address: its options, and how many seconds it may take to open and to fall silent.

    FFmpeg first gives out the picture that it still holds when reading times out, then waits as long again:
    so half of `silent_after` is what it is told (measured: 1 s given, 2.0 s until the error).
    """

    options: Mapping[str, str] = field(default_factory=dict)
    open_within: float | None = None
    silent_after: float | None = None
    format: str | None = None


# The session description says what FFmpeg otherwise watches the stream for: 0.05 s to the first picture in
# place of 1.1 s. Cameras that keep it from there send it with each key frame, where the decoder finds it.
# Cameras that sleep or are far away take up to some seconds to answer, never 5 between two pictures.
RTSP = Access(
    {"analyzeduration": "0", "probesize": "32", "allowed_media_types": "video"},
    open_within=5.0,
    silent_after=5.0,
)
# HLS comes in segments of up to 10 s, each of them only when it is complete.
HTTP = Access(open_within=10.0, silent_after=30.0)
DEVICE = Access(open_within=5.0, silent_after=5.0, format="v4l2")
FILE = Access()

MOST_REORDERED = 32  # packets that wait for their place: H.264 and H.265 allow 16
UNTIMED_FPS = 25.0  # frames per second of a video that carries neither times nor a rate

_FAULTS = {  # FFmpeg's error: kind, whether it may pass, what to say about {url}
    "ConnectionRefusedError": ("refused", True, "connection refused at {url} (nothing listens there)"),
    "HTTPUnauthorizedError": ("unauthorised", False, "{url} wants another user name and password"),
    "HTTPForbiddenError": ("unauthorised", False, "{url} forbids access"),
    "HTTPNotFoundError": ("not found", False, "there is no such stream at {url}"),
    "HTTPBadRequestError": ("not found", False, "{url} is an address that the camera does not understand"),
    "FileNotFoundError": ("not found", False, "{url} does not exist"),
    "PermissionError": ("unauthorised", False, "{url} may not be read by this user"),
    "DecoderNotFoundError": ("codec", False, "{url} has video that FFmpeg cannot decode"),
    "ProtocolNotFoundError": ("protocol", False, "{url} begins with a scheme that FFmpeg does not know"),
    "ConnectionResetError": ("closed", True, "{url} closed the connection"),
    "BrokenPipeError": ("closed", True, "{url} closed the connection"),
    "HTTPServerError": ("overloaded", True, "{url} reports an error of its own"),
    "HTTPOtherClientError": ("overloaded", True, "{url} refuses (too many viewers, or another transport?)"),
    "HTTPTooManyRequestsError": ("overloaded", True, "{url} refuses another viewer"),
}
_UNREACHABLE = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN)


class Feed:
    """One open video. Use it in a with statement, which closes it on every path.

    Opening and reading raise `SourceError`, with a message that begins with the camera and shows no secret.
    """

    def __init__(self, camera: str, url: str, access: Access) -> None:
        import av

        self.camera, self.shown = camera, redact(url)
        self._access, self._address = access, expand(url)
        if access is FILE:  # FFmpeg would take what is before a colon in the path for a protocol
            self._address = f"file:{self._address.removeprefix('file://')}"
        self._is_rtsp = self._address.lower().startswith("rtsp")
        fault, began = None, time.monotonic()
        half = access.silent_after and access.silent_after / 2
        try:
            self._container: InputContainer = av.open(
                self._address,
                format=access.format,
                options=dict(access.options),
                timeout=(access.open_within, half),
            )
        except av.FFmpegError as error:
            fault = self._opening_fault(error, time.monotonic() - began)
        if fault:  # raised here, for an exception's context would show FFmpeg's own
            raise fault
        self._stream = self._video_stream()
        self._start: float | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._container.close()

    @property
    def ends(self) -> bool:
        """Whether the end of the data is the end of the video, and no lost connection."""
        return bool(self._container.duration) and not self._is_rtsp

    @property
    def fps(self) -> float | None:
        """Frames per second, where the video says."""
        return float(self._stream.average_rate) if self._stream.average_rate else None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels; zeros where only the pictures themselves say."""
        return self._stream.codec_context.width, self._stream.codec_context.height

    def __str__(self) -> str:
        size = "{}x{} ".format(*self.size) if all(self.size) else ""
        rate = f" {self.fps:g} fps" if self.fps else ""
        return f"{size}{self._stream.codec_context.name}{rate}"

    def read(self) -> Iterator[av.Packet[VideoStream]]:
        """The packets of the video stream, as they come."""
        import av

        fault = None
        try:
            for packet in self._container.demux(self._stream):
                if packet.size:
                    yield packet
        except av.FFmpegError as error:
            fault = self._reading_fault(error)
        if fault:
            raise fault

    def moment(self, packet: av.Packet[VideoStream], place: int) -> float:
        """When a packet's picture is shown, in seconds from the first one, which has `place` 0.

        The first packet of an RTSP stream has no time, and those of a bare H.264 file have none at all.
        """
        counted = place / (self.fps or UNTIMED_FPS)
        if packet.pts is None:
            return counted
        shown = float(packet.pts * packet.time_base)
        if self._start is None:
            self._start = shown - counted
        return shown - self._start

    def packet(self, packet: av.Packet[VideoStream], origin: Origin) -> Packet:
        """The packet as a value, over FFmpeg's own memory."""
        context = self._stream.codec_context
        return Packet(
            origin,
            np.frombuffer(memoryview(packet), np.uint8),
            context.name,
            packet.is_keyframe,
            Fraction(packet.time_base),
            packet.pts,
            packet.dts,
            context.extradata or b"",
            context.pix_fmt if context.name == "rawvideo" else None,
        )

    def _video_stream(self) -> VideoStream:
        streams = self._container.streams.video
        if streams and streams[0].codec_context is not None:
            return streams[0]
        self._container.close()
        what = "has video that FFmpeg cannot decode" if streams else "has no video"
        raise SourceError("codec", f"{self.camera}: {self.shown} {what}")

    def _opening_fault(self, error: av.FFmpegError, took: float) -> SourceError:
        limit, url, name = self._access.open_within, self.shown, type(error).__name__
        if limit and took >= limit:
            return self._fault("stalled", True, f"no answer from {url} for {limit:g} s")
        if name in _FAULTS:
            kind, transient, words = _FAULTS[name]
            return self._fault(kind, transient, words.format(url=url))
        if error.errno in _UNREACHABLE:
            return self._fault("unreachable", True, f"no way to reach {url} over the network")
        if name == "InvalidDataError":
            if self._is_rtsp:  # a camera that boots may answer like this for a while
                return self._fault("protocol", True, f"what answers at {url} does not speak RTSP")
            return self._fault("codec", False, f"{url} is not a video that FFmpeg can read")
        if error.errno == errno.EIO and (host := urlsplit(redact(self._address)).hostname):
            return self._connection_fault(host)
        return self._fault("failed", True, f"cannot open {url}: {error.strerror}")

    def _connection_fault(self, host: str) -> SourceError:
        """What an input/output error means, which is all that FFmpeg says of host names and of TLS."""
        try:
            socket.getaddrinfo(host, None)
        except OSError:
            return self._fault("dns", True, f"the host name in {self.shown} is unknown")
        if urlsplit(self._address).scheme in ("rtsps", "https"):
            return self._fault("tls", False, f"no encrypted connection to {self.shown} came about")
        return self._fault("failed", True, f"cannot open {self.shown}: input/output error")

    def _reading_fault(self, error: av.FFmpegError) -> SourceError:
        if type(error).__name__ in ("ExitError", "TimeoutError") and self._access.silent_after:
            return self._fault(
                "stalled", True, f"no picture from {self.shown} for {self._access.silent_after:g} s"
            )
        if type(error).__name__ == "InvalidDataError":
            return self._fault("codec", True, f"{self.shown} is damaged")
        return self._fault("closed", True, f"{self.shown} broke off: {error.strerror}")

    def _fault(self, kind: str, transient: bool, words: str) -> SourceError:
        return SourceError(kind, f"{self.camera}: {words}", transient=transient)


def in_shown_order(
    packets: Iterable[av.Packet[VideoStream]],
) -> Iterator[tuple[int, av.Packet[VideoStream]]]:
    """Each packet, in the order given, with its place in the order in which the pictures are shown.

    The two orders differ where a video has B-frames. A picture's place is known as soon as decoding time has
    passed its presentation time, for later packets can only be shown later; without B-frames that is at once.
    Where the clock is set back, what came before is shown before; at most `MOST_REORDERED` packets wait.
    """
    waiting: deque[tuple[int, av.Packet[VideoStream]]] = deque()  # by their number, in the order given
    unplaced: list[tuple[int, int, int]] = []  # heap of how often the clock was set back, time shown, number
    places: dict[int, int] = {}
    placed = setbacks = 0
    decoded = -math.inf
    for number, packet in enumerate(packets):
        waiting.append((number, packet))
        if packet.dts is not None:
            setbacks += packet.dts < decoded
            decoded = packet.dts
        heapq.heappush(unplaced, (setbacks, packet.pts or 0, number))
        untimed = packet.pts is None or packet.dts is None
        passed = math.inf if untimed or len(waiting) > MOST_REORDERED else decoded
        while unplaced and unplaced[0][:2] <= (setbacks, passed):
            places[heapq.heappop(unplaced)[-1]] = placed
            placed += 1
        while waiting and waiting[0][0] in places:
            known, ready = waiting.popleft()
            yield places.pop(known), ready
    while unplaced:
        places[heapq.heappop(unplaced)[-1]] = placed
        placed += 1
    yield from ((places[known], ready) for known, ready in waiting)
