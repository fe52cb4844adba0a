"""Decoding: packets of encoded video in, pictures out."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from flowedge import Frame, Operator, Origin, Packet, State

if TYPE_CHECKING:
    import av
    from av.video.stream import VideoStream

log = logging.getLogger("flowedge.camera")


@dataclass
class Decode(Operator[Packet | Frame, Frame]):
    """Decode packets to frames that hold the decoder's own picture; frames pass through.

    A frame carries the origin of the packet that it was coded in, with the size of the picture. Pictures
    that are coded out of order (B-frames) come a few packets late. A packet that cannot be decoded raises
    `av.FFmpegError`, and the packets after it are decoded as far as they make sense without it.

    >>> from flowedge import Graph
    >>> from flowedge.operators.video import Video
    >>> frames = Graph("example").source(Video({"north": "rtsp://10.0.0.5/street"})) >> Decode()
    """

    delayed = True
    state = State.PER_CAMERA

    _decoders: dict[str, _Decoder] = field(default_factory=dict, init=False, repr=False, compare=False)

    def process(self, value: Packet | Frame, /) -> Frame | None:
        if isinstance(value, Frame):
            return value
        decoder = self._decoders.setdefault(value.origin.camera, _Decoder())
        decoder.take(value)
        return decoder.ready.popleft() if decoder.ready else None

    def flush(self, camera: str) -> Iterable[Frame]:
        decoder = self._decoders.pop(camera, None)
        if decoder is None:
            return ()
        decoder.finish()
        return decoder.ready

    def close(self) -> None:
        self._decoders.clear()


class _Decoder:
    """The decoder of one camera; `ready` are the frames that were decoded and not yet handed on."""

    def __init__(self) -> None:
        self.ready: deque[Frame] = deque()
        self._context: av.VideoCodecContext | None = None
        self._made_for: tuple[object, ...] = ()
        self._size: tuple[int, int] | None = None

    def take(self, packet: Packet) -> None:
        """Decode one packet; what it brings to light is then `ready`."""
        wanted = (packet.origin.session, packet.codec, packet.extradata, packet.pixel_format)
        if self._context is None or wanted != self._made_for:
            self.finish()
            self._context, self._made_for = _context_for(packet), wanted
        self._keep(self._context.decode(_with_padding(packet)))

    def finish(self) -> None:
        """Get out of the decoder what it still holds, and release it."""
        context, self._context = self._context, None
        if context is not None and context.is_open:
            self._keep(context.decode(None))

    def _keep(self, pictures: Iterable[av.VideoFrame]) -> None:
        for picture in pictures:
            size = picture.width, picture.height
            origin = picture.opaque
            assert isinstance(origin, Origin), "a decoder copies the packet's opaque value to its picture"
            if self._size not in (None, size):
                log.info("%s: frame size is now %dx%d (was %dx%d)", origin.camera, *size, *self._size or ())
            self._size = size
            self.ready.append(Frame(replace(origin, width=size[0], height=size[1]), picture))


def _context_for(packet: Packet) -> av.VideoCodecContext:
    """A decoder for packets like this one.

    Threads share the slices of a picture. Threads that decode several pictures at once hold back a picture
    each, which costs a live camera 80 ms at 25 frames per second on two cores, and 10 MB at 1080p, and take
    up to a quarter more processor time per picture. Measured at 1080p H.264 on two cores, pictures per
    second: slices 120 (one slice a picture) to 340 (several), whole pictures 185 to 260, one thread 120 to
    190. A graph keeps the other cores busy, with other cameras or other operators.
    """
    import av

    context = av.VideoCodecContext.create(packet.codec, "r")
    assert isinstance(context, av.VideoCodecContext)
    context.thread_type = "SLICE"
    context.copy_opaque = True  # by which each picture finds its packet's origin again
    context.extradata = packet.extradata or None
    if packet.pixel_format:  # raw pictures say nothing about themselves
        context.width, context.height = packet.origin.width, packet.origin.height
        context.pix_fmt = packet.pixel_format
    return context


def _with_padding(packet: Packet) -> av.Packet[VideoStream]:
    """The packet in FFmpeg's own memory: decoders read some bytes past the end, which must be there."""
    import av

    if not packet.data.size:  # FFmpeg would take it for the end of the stream
        raise ValueError(f"{packet.origin.camera}: packet {packet.origin.index} is empty")
    copy: av.Packet[VideoStream] = av.Packet(packet.data.size)  # type: ignore[assignment]
    copy.update(packet.data)  # type: ignore[arg-type]
    copy.pts, copy.dts, copy.time_base = packet.pts, packet.dts, packet.time_base
    copy.opaque = packet.origin
    return copy
