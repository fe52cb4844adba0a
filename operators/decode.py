"""Decoding: packets of encoded video in, pictures out."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import TYPE_CHECKING, get_args

from flowedge import Absent, CodecParameters, Frame, Operator, Origin, Packet, State
from flowedge.values import Outcome
from flowedge.video.upright import Upright, orientation

if TYPE_CHECKING:
    import av
    from av.video.stream import VideoStream

log = logging.getLogger("flowedge.camera")

_AWAIT_KEY = 600  # packets that wait for a key frame; a stream without any is then decoded as it is
_KEYED = ("h264", "hevc", "vvc", "vp8", "vp9", "libdav1d", "mpeg4", "mpeg1video", "mpeg2video")
"""Decoders whose key frames are marked by all containers; others, such as RoQ's, may have none that is."""
_CONVERTED = (0, 1, 2, 4, 5, 6, 7, 9)
"""The colour spaces that FFmpeg's scaler knows, as ITU-T H.273 numbers them; YCgCo (8) is none."""
_DELAYED = ("libdav1d",)  # decoders that work on several pictures at a time whatever their threads share
_HIDDEN = ("vp8", "vp9", "libdav1d")  # codecs some of whose packets hold a picture that is only referred to


@dataclass
class Decode(Operator[Packet | Frame, Frame]):
    """Decode packets to frames that hold the decoder's own picture; frames pass through.

    Frames are numbered and timed as the decoder gives them out: the next picture gets the smallest `index` and
    the earliest time of the packets that are being decoded, whatever order these were coded in and whatever
    a container says of it (AVI stamps B-frames in coding order). Pictures that are coded out of order
    (B-frames) come a few packets late. Pictures are turned upright, and their pixels made square, as container
    and codec say. A packet that gives no picture becomes an `Absent`: before the first key frame it is dropped.
    A packet that cannot be decoded raises `av.FFmpegError`, and the packets after it are decoded as far as
    they make sense without it. What FFmpeg's decoder keeps cannot be moved: another copy begins at a key frame.

    >>> from flowedge import Graph
    >>> from flowedge.operators.video import Video
    >>> frames = Graph("example").source(Video({"north": "rtsp://10.0.0.5/street"})) >> Decode()
    """

    delayed = True
    state = State.PER_CAMERA

    _decoders: dict[str, _Decoder] = field(default_factory=dict, init=False, repr=False, compare=False)

    def process(self, value: Packet | Frame, /) -> Frame | Absent | None:  # type: ignore[override]
        if isinstance(value, Frame):
            return value
        decoder = self._decoders.setdefault(value.origin.camera, _Decoder(self.name))
        decoder.take(value)
        return decoder.next()

    def flush(self, camera: str) -> Iterable[Frame | Absent]:  # type: ignore[override]
        decoder = self._decoders.pop(camera, None)
        if decoder is None:
            return
        decoder.finish()
        while (result := decoder.next()) is not None:
            yield result

    def close(self) -> None:
        self._decoders.clear()


class _Decoder:
    """The decoder of one camera; `next` gives what was decoded and not yet handed on."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._ready: deque[Frame | Absent] = deque()
        self._coded: list[Packet] = []  # whose pictures are still to come, in the order given
        self._free: list[Origin] = []  # the numbers and times of these packets, each the next picture's choice
        self._context: av.VideoCodecContext | None = None
        self._made_for: tuple[object, ...] = ()
        self._size: tuple[int, int] | None = None
        self._begun = False
        self._waited = 0  # packets since the stream began that came before a key frame
        self._upright = Upright()

    def next(self) -> Frame | Absent | None:
        return self._ready.popleft() if self._ready else None

    def take(self, packet: Packet) -> None:
        """Decode one packet; what it brings to light is then `next`."""
        if not packet.data.size:  # FFmpeg would take it for the end of the stream
            raise ValueError(f"{packet.origin.camera}: packet {packet.origin.index} is empty")
        wanted = packet.origin.session, packet.parameters
        if self._context is None or wanted != self._made_for:
            self.finish()
            if self._made_for[:1] != wanted[:1]:
                self._begun, self._waited = False, 0
            self._context, self._made_for = _context_for(packet.parameters), wanted
        if not self._begins(packet):
            self._lose(packet.origin, Outcome.DROPPED, "before key frame")
            return
        for earlier in packet.preroll:
            self._decode(self._context, earlier, None)
        self._coded.append(packet)
        self._free.append(packet.origin)
        try:
            self._decode(self._context, packet, packet)
        except Exception:
            if packet in self._coded:
                self._forget(packet)
            raise
        codec = packet.parameters.codec
        if packet in self._coded and not self._context.reorder_depth and codec not in _DELAYED:
            self._forget(packet)
            outcome = Outcome.FILTERED if codec in _HIDDEN else Outcome.FAILED
            self._lose(packet.origin, outcome, "no picture")

    def finish(self) -> None:
        """Get out of the decoder what it still holds, and release it."""
        context, self._context = self._context, None
        if context is not None and context.is_open:
            self._keep(context.decode(None), context)
        self._coded.clear()
        self._free.clear()

    def _begins(self, packet: Packet) -> bool:
        """Whether decoding has begun, as it does at a key frame: what comes before has nothing to refer to."""
        keyed = packet.parameters.codec in _KEYED
        if not self._begun and keyed and not any(item.keyframe for item in (packet, *packet.preroll)):
            self._waited += 1
            if self._waited <= _AWAIT_KEY:
                return False
            log.warning("%s: no key frame in %d packets, decoding without", packet.origin.camera, _AWAIT_KEY)
        self._begun = True
        return True

    def _decode(self, context: av.VideoCodecContext, packet: Packet, known_as: Packet | None) -> None:
        self._keep(context.decode(_with_padding(packet, known_as)), context)

    def _keep(self, pictures: Iterable[av.VideoFrame], context: av.VideoCodecContext) -> None:
        for picture in pictures:
            packet = picture.opaque
            if packet not in self._coded:  # of a packet that is not to be shown, or had one already
                continue
            # What was coded so long before this picture that it is too late to be shown after it has been lost.
            for lost in self._coded[: max(0, self._coded.index(packet) - context.reorder_depth)]:
                self._forget(lost)
            self._coded.remove(packet)
            self._ready.append(self._frame(picture, packet.parameters, self._next_origin(), context))

    def _next_origin(self) -> Origin:
        """The smallest number of the packets being decoded, with the earliest time of them."""
        lowest = min(self._free, key=lambda origin: origin.index)
        earliest = min(self._free, key=lambda origin: origin.media)
        self._free.remove(earliest)
        if earliest is not lowest:  # the packet that has this number takes over the other one
            self._free[self._free.index(lowest)] = replace(lowest, index=earliest.index)
        return replace(earliest, index=lowest.index)

    def _frame(
        self, picture: av.VideoFrame, parameters: CodecParameters, origin: Origin, context: av.VideoCodecContext
    ) -> Frame:
        if picture.colorspace not in _CONVERTED:
            space = f"colour space {picture.colorspace} (ITU-T H.273)"
            raise ValueError(f"{origin.camera}: pictures of {space} cannot be converted")
        turned = parameters.orientation
        if turned == 1 and picture.rotation:
            turned = orientation(picture)
        ratio = parameters.sample_aspect_ratio or context.sample_aspect_ratio or Fraction(0)
        upright = self._upright(picture, turned, ratio)
        size = upright.width, upright.height
        if self._size not in (None, size):
            log.info("%s: frame size is now %dx%d (was %dx%d)", origin.camera, *size, *self._size or ())
        self._size = size
        return Frame(replace(origin, width=size[0], height=size[1]), upright)

    def _forget(self, packet: Packet) -> None:
        """Give up waiting for a packet's picture; another one may have taken over its origin."""
        self._coded.remove(packet)
        index = packet.origin.index
        self._free.remove(next((item for item in self._free if item.index == index), self._free[0]))

    def _lose(self, origin: Origin, outcome: Outcome, cause: str) -> None:
        self._ready.append(Absent(origin, outcome, cause, self._name))


def _context_for(parameters: CodecParameters) -> av.VideoCodecContext:
    """A decoder for packets with these parameters.

    Threads share the slices of a picture. Threads that decode several pictures at once hold back a picture
    each, which costs a live camera 80 ms at 25 frames per second on two cores, and 10 MB at 1080p, and take
    up to a quarter more processor time per picture. Measured at 1080p H.264 on two cores, pictures per
    second: slices 120 (one slice a picture) to 340 (several), whole pictures 185 to 260, one thread 120 to
    190. A graph keeps the other cores busy, with other cameras or other operators.
    """
    import av
    from av.codec.context import Flags

    context = av.VideoCodecContext.create(parameters.codec, "r")
    assert isinstance(context, av.VideoCodecContext)
    context.thread_type = "SLICE"
    if parameters.codec in _DELAYED:
        context.flags |= Flags.low_delay
    context.copy_opaque = True  # by which each picture finds its packet again
    context.extradata = parameters.extradata or None
    context.codec_tag = parameters.codec_tag.decode("latin-1")
    context.width, context.height = parameters.width, parameters.height
    if parameters.pixel_format:
        context.pix_fmt = parameters.pixel_format
    context.bits_per_coded_sample = parameters.bits_per_coded_sample
    context.reorder_depth = parameters.reorder_depth
    return context


def _with_padding(packet: Packet, known_as: Packet | None) -> av.Packet[VideoStream]:
    """The packet in FFmpeg's own memory: decoders read some bytes past the end, which must be there."""
    import av
    from av.packet import PacketSideData, PktSideDataT

    copy: av.Packet[VideoStream] = av.Packet(packet.data.size)  # type: ignore[assignment]
    copy.update(packet.data)  # type: ignore[arg-type]
    copy.pts, copy.dts, copy.time_base = packet.pts, packet.dts, packet.time_base
    copy.is_keyframe, copy.is_corrupt = packet.keyframe, packet.corrupt
    for kind, data in packet.side_data.items():
        item = PacketSideData(get_args(PktSideDataT).index(kind), len(data))  # type: ignore[call-arg]
        item.update(data)
        copy.set_sidedata(item, move=True)
    copy.opaque = known_as
    return copy
