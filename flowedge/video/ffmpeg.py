"""Videos opened with FFmpeg: what is asked of it for each kind of address, and its errors in plain words.

FFmpeg's own exceptions hold the address with its password, so they are never shown, chained or logged.
"""

from __future__ import annotations

import errno
import logging
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Self
from urllib.parse import unquote, urlsplit

import numpy as np

from flowedge import CodecParameters, Origin, Packet, SourceError
from flowedge.secrets import expand, redact
from flowedge.video import tls
from flowedge.video.elementary import CHANGING, codec_of
from flowedge.video.memory import LARGEST_BLOCK, limit_blocks
from flowedge.video.multipart import CHUNK, NO_PICTURE, Repaired
from flowedge.video.timeline import Timeline, TimeSource
from flowedge.video.upright import orientation

if TYPE_CHECKING:
    import av
    from av.container import InputContainer
    from av.video.stream import VideoStream

log = logging.getLogger("flowedge.camera")


@dataclass(frozen=True)
class Access:
    """How FFmpeg opens an address: its options, and how many seconds it may take to open and to fall silent.

    FFmpeg first gives out the picture that it still holds when reading times out, then waits as long again:
    so half of `silent_after` is what it is told (measured: 1 s given, 2.0 s until the error). `trust` says
    whose certificate is believed, as `tls.trusting` has it. `malformed` has a multipart message read as
    `multipart.Repaired` gives it.
    """

    options: Mapping[str, str] = field(default_factory=dict)
    open_within: float | None = None
    silent_after: float | None = None
    format: str | None = None
    trust: str = ""
    malformed: bool = False


# The session description says what FFmpeg otherwise watches the stream for: 0.05 s to the first picture in
# place of 1.1 s. Cameras that keep it from there send it with each key frame, where the decoder finds it.
# Cameras that sleep or are far away take up to some seconds to answer, never 5 between two pictures.
RTSP = Access(
    {"analyzeduration": "0", "probesize": "32", "allowed_media_types": "video"},
    open_within=5.0,
    silent_after=5.0,
)
# A transport stream whose video moves to another PID goes on as the same stream. Where the codec changes there,
# FFmpeg would go on cutting packets as the old one wants it. Other formats ignore this.
_ONE_STREAM = {"merge_pmt_versions": "1"}
# HLS comes in segments of up to 10 s, each of them only when it is complete.
HTTP = Access(_ONE_STREAM, open_within=10.0, silent_after=30.0)
DEVICE = Access(open_within=5.0, silent_after=5.0, format="v4l2")
FILE = Access()

# What a decoder needs of what comes beside a packet's bytes; new parameter sets go into its parameters.
_SIDE_DATA = ("palette", "param_change", "skip_samples", "matroska_block_additional", "display_matrix")
_UNTIMED = ("mpjpeg", "mjpeg", "h264", "hevc", "m4v", "mpegvideo", "obu", "image2pipe", "jpeg_pipe")
_SEGMENTED = ("hls", "dash")
_CHANGING_FORMATS = {"mpegts", "hls"}
_WITH_DISPLAY_MATRIX = {"mov", "mp4", "matroska", "webm", "hls", "dash"}
_WITH_EDIT_LISTS = {"mov", "mp4"}  # which say when the first picture is shown; AVI says what is not so
_WITH_END_AS_DURATION = {"matroska", "webm", "nut"}  # whose duration is the time of the last picture's end
_CUT_SHORT = 1.0  # seconds of a file that are missing at its end before it is said

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
    `notes` counts what of the video was not taken as it came, by a sentence that names the camera.
    """

    def __init__(self, camera: str, url: str, access: Access, notes: Counter[str]) -> None:
        import av

        self._notes = notes
        self.camera, self.shown = camera, redact(url)
        self._access, self._address = access, expand(url)
        if access is FILE:  # FFmpeg would take what is before a colon in the path for a protocol
            self._address = f"file:{path_of(self._address)}"
        else:  # FFmpeg knows schemes in small letters only
            scheme, separator, rest = self._address.partition("://")
            self._address = f"{scheme.lower()}{separator}{rest}" if separator else self._address
        self._is_rtsp = self._address.startswith("rtsp")
        if access is not FILE:
            limit_blocks()
        self._held = ExitStack()  # what must stay as long as the video is open: a file of certificates
        fault, began = None, time.monotonic()
        try:
            trusted = self._held.enter_context(self._trusting())
            self._container = self._opened(trusted)
            if self._may_have_moved():
                self._container.close()
                self._container = self._opened(_ONE_STREAM)
        except av.FFmpegError as error:
            fault = self._opening_fault(error, time.monotonic() - began)
        except tls.UntrustedError as error:
            fault = self._fault("tls", False, f"the certificate of {self.shown} is not trusted: {error}")
        except OSError as error:  # of the connection by which the certificate is looked at
            why = error.strerror or type(error).__name__
            fault = self._fault("unreachable", True, f"no encrypted connection to {self.shown} ({why})")
        if fault:  # raised here, for an exception's context would show FFmpeg's own
            self._held.close()
            raise fault
        self._formats = set(self._container.format.name.split(","))
        self._stream = self._video_stream()
        self._time_base = Fraction(self._stream.time_base or 1)
        self._ticks, self._unit = self._time_base.denominator, self._time_base.numerator
        self.parameters = self._parameters()
        self._may_change = bool(self._formats & _CHANGING_FORMATS) and self.parameters.codec in CHANGING
        self._codec_changed = self._begins_group = False
        self._probed = False
        self._preroll: list[Packet] = []  # given with the next packet that is shown
        self._begin = self._start()
        is_edited = bool(set(self._container.format.name.split(",")) & _WITH_EDIT_LISTS)
        self.timeline = Timeline(self._clock(), self.fps, self._begin if is_edited else None)

    def _opened(self, options: Mapping[str, str]) -> InputContainer:
        import av

        if self._access.malformed:
            return self._repaired(options)
        half = self._access.silent_after and self._access.silent_after / 2
        if not self._address.startswith("http"):
            return self._connected(self._access.format, options, half)
        allowed = ",".join(av.formats_available - {"mjpeg"})
        try:
            return self._connected(None, {**options, "format_whitelist": allowed}, half)
        except (av.error.InvalidDataError, av.error.ArgumentError) as error:  # no format, or not allowed
            try:
                return self._repaired(options)
            except (av.error.InvalidDataError, av.error.EOFError):
                raise error from None

    def _repaired(self, options: Mapping[str, str]) -> InputContainer:
        import av

        within, silent_after = self._access.open_within, self._access.silent_after
        raw = self._connected("data", {**options, "raw_packet_size": str(CHUNK)}, silent_after)
        self._held.callback(raw.close)
        repaired = Repaired(raw, self._refuse_part, within, silent_after)
        return av.open(repaired, "r", format="mpjpeg")

    def _connected(
        self, form: str | None, options: Mapping[str, str], silent_after: float | None
    ) -> InputContainer:
        import av

        return av.open(
            self._address,
            format=form,
            options={**self._access.options, **options},
            timeout=(self._access.open_within, silent_after),
        )

    def _refuse_part(self, size: int) -> None:
        sentence = f"parts of {self.camera} without a whole picture were passed over"
        self._notes[sentence] += 1
        if self._notes[sentence] == 1:
            log.warning(
                "%s: %s sent %d MiB without a whole picture; they are passed over, and further ones counted",
                self.camera, self.shown, size >> 20,
            )  # fmt: skip

    def _may_have_moved(self) -> bool:
        """Whether a file's video streams may be one that moved to another PID; FFmpeg looks at its end, too."""
        if self._access is not FILE or self._container.format.name != "mpegts":
            return False
        codecs = [item.codec_context and item.codec_context.name for item in self._container.streams.video]
        return len(codecs) > 1 and len(set(codecs)) == 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def ends(self) -> bool:
        """Whether the end of the data is the end of the video, and no lost connection."""
        return bool(self._container.duration) and not self._is_rtsp

    @property
    def is_picture(self) -> bool:
        """Whether the address gives a single picture, as a camera's "snapshot.cgi" does."""
        return self._container.format.name == "image2" or self._container.format.name.endswith("_pipe")

    @property
    def fps(self) -> float | None:
        """Frames per second, where the video says."""
        return float(self._stream.average_rate) if self._stream.average_rate else None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels; zeros where only the pictures themselves say."""
        return self.parameters.width, self.parameters.height

    def __str__(self) -> str:
        size = "{}x{} ".format(*self.size) if all(self.size) else ""
        rate = f" {self.fps:g} fps" if self.fps else ""
        return f"{size}{self._stream.codec_context.name}{rate}"

    def read(self) -> Iterator[av.Packet[VideoStream]]:
        """The packets of the video stream that are to be shown, as they come."""
        import av

        fault, last, end = None, None, 0
        try:
            for packet in self._demuxed():
                if packet.size > LARGEST_BLOCK // 2 and self._access is not FILE:
                    size = f"{packet.size >> 20} MiB"
                    kind = "multipart" if "mpjpeg" in self._formats else "codec"
                    fault = self._fault(kind, True, f"{self.shown} sent a picture of more than {size}")
                    break
                if packet.size:
                    self._note_parameters(packet)
                    if packet.is_discard or self._is_hidden(packet):
                        self._preroll.append(self._value(packet, Origin(self.camera)))
                    else:
                        yield packet
                    last, end = packet, max(end, _end_of(packet))
        except av.FFmpegError as error:
            fault = self._reading_fault(error)
        if fault:
            raise fault
        self._note_end(last, end * self._unit / self._ticks)

    def _demuxed(self) -> Iterator[av.Packet[VideoStream]]:
        while True:
            try:
                yield from self._container.demux(self._stream)
                return
            except IndexError:  # PyAV 18 does not know a stream that was not there when the video was opened
                log.info("%s: %s has a further stream from now on, which is not read", self.camera, self.shown)

    def place(self, packet: av.Packet[VideoStream], arrival: float) -> float:
        """When a packet's picture is shown, in seconds from the first one; `arrival` is on the monotonic clock.

        Tells of the first time stamp that is not believed; `close` tells how many there were.
        """
        moment = self.timeline.place(self._seconds(packet.pts), self._seconds(packet.dts), arrival)
        if moment.correction:
            self._notes[f"time stamps of {self.camera} were not believed"] += 1
        if moment.correction and self.timeline.corrected == 1:
            log.warning(
                "%s: a time stamp is not believed (%s at %.1f s): its picture follows the one before at the "
                "usual interval, and further ones are counted",
                self.camera,
                moment.correction,
                moment.media,
            )
        return moment.media

    def _seconds(self, stamp: int | None) -> float | None:
        return None if stamp is None else stamp * self._unit / self._ticks

    def packet(self, packet: av.Packet[VideoStream], origin: Origin) -> Packet:
        """The packet as a value, over FFmpeg's own memory, with those before it that are not to be shown."""
        if not self._preroll:
            return self._value(packet, origin)
        preroll, self._preroll = tuple(self._preroll), []
        return replace(self._value(packet, origin), preroll=preroll)

    def _value(self, packet: av.Packet[VideoStream], origin: Origin) -> Packet:
        side_data = {
            item.data_type: bytes(item) for item in packet.iter_sidedata() if item.data_type in _SIDE_DATA
        }
        return Packet(
            origin,
            np.frombuffer(memoryview(packet), np.uint8),
            self.parameters,
            packet.is_keyframe or self._begins_group,
            self._time_base,
            packet.pts,
            packet.dts,
            packet.is_corrupt,
            side_data,
        )

    def close(self) -> None:
        """Release the video and tell how many of its time stamps were not believed."""
        self._container.close()
        self._held.close()
        if self.timeline.corrected > 1:
            log.warning("%s: %d time stamps were not believed", self.camera, self.timeline.corrected)

    def _is_hidden(self, packet: av.Packet[VideoStream]) -> bool:
        """Whether a packet of VP8 holds a picture that is only referred to (RFC 6386, 9.1: show_frame)."""
        return self.parameters.codec == "vp8" and not memoryview(packet)[0] & 0x10

    def _parameters(self) -> CodecParameters:
        stream, context = self._stream, self._stream.codec_context
        return CodecParameters(
            context.name,
            context.codec_tag.encode("latin-1"),
            context.extradata or b"",
            context.width,
            context.height,
            context.pix_fmt,
            context.bits_per_coded_sample,
            Fraction(stream.sample_aspect_ratio or 0),
            reorder_depth=context.reorder_depth,
        )

    def _note_parameters(self, packet: av.Packet[VideoStream]) -> None:
        """Take over new parameter sets, and at the first packet what only a decoder tells of the container."""
        for item in packet.iter_sidedata():
            if item.data_type == "new_extradata":
                self.parameters = replace(self.parameters, extradata=bytes(item))
        if self._may_change:
            self._note_codec(packet)
        if self._probed:
            return
        self._probed = True
        if not self._formats & _WITH_DISPLAY_MATRIX:
            return
        picture = _first_picture(self._stream, packet)
        if picture is not None:
            self.parameters = replace(self.parameters, orientation=orientation(picture))

    def _note_codec(self, packet: av.Packet[VideoStream]) -> None:
        """Take over another codec, with parameter sets in the stream; FFmpeg may go on parsing the old one."""
        told = codec_of(memoryview(packet))
        if told is None:
            return
        codec, begins_group = told
        if codec != self.parameters.codec:
            log.warning(
                "%s: %s goes on in another codec, %s (was %s)",
                self.camera, self.shown, codec, self.parameters.codec,
            )  # fmt: skip
            self.parameters, self._codec_changed = CodecParameters(codec), True
        self._begins_group = self._codec_changed and begins_group

    def _note_end(self, last: av.Packet[VideoStream] | None, end: float) -> None:
        """Tell of a file that ends before the time that it says it has."""
        if self._access is not FILE or last is None:
            return
        counts_from_zero = set(self._container.format.name.split(",")) & _WITH_END_AS_DURATION
        stream, begin = self._stream, 0.0 if counts_from_zero else self._begin or 0.0
        if stream.duration and stream.time_base:
            promised = float(stream.duration * stream.time_base)
        elif len(self._container.streams) == 1 and self._container.duration:
            promised = self._container.duration / 1e6
            if "matroska" in self._formats and end >= promised - _CUT_SHORT:
                return  # which writes down when it ends, and not how long it is
        else:
            return
        if last.is_corrupt or end - begin < promised - _CUT_SHORT:
            log.warning(
                "%s: %s is cut short: it ends after %.1f of %.1f s",
                self.camera, self.shown, end - begin, promised,
            )  # fmt: skip

    def _start(self) -> float | None:
        """When the first picture of a recording is shown, on the stream's own clock, where that is known now:
        FFmpeg takes the first packet that has a decoding time for it, if it knows no better."""
        stream = self._stream
        if self._access is not FILE or stream.start_time is None or stream.time_base is None:
            return None
        return float(stream.start_time * stream.time_base)

    def _clock(self) -> TimeSource:
        if self._access is FILE or self.ends or self._is_segmented():
            return TimeSource.STAMPS
        return TimeSource.ARRIVAL if self._formats & set(_UNTIMED) else TimeSource.CHECKED

    def _is_segmented(self) -> bool:
        return bool(self._formats & set(_SEGMENTED))

    def _video_stream(self) -> VideoStream:
        """The stream of moving pictures that the container prefers, else the largest; others are not read."""
        from av.stream import Discard, Disposition

        streams = self._container.streams
        moving = [item for item in streams.video if not item.disposition & Disposition.attached_pic]
        usable = [item for item in moving if item.codec_context is not None]
        is_tiled = any(item.disposition & Disposition.dependent for item in moving)
        if is_tiled or not usable:
            self._container.close()
            self._held.close()
            what = "has video that FFmpeg cannot decode" if moving else "has no video"
            if is_tiled:
                what = "is a picture stored in tiles (HEIC or AVIF), which are not put together; make it a JPEG"
            raise SourceError("codec", f"{self.camera}: {self.shown} {what}")
        chosen = max(usable, key=_preference)
        if len(moving) > 1 and not self._is_segmented():  # HLS and DASH offer one video in several sizes
            log.warning(
                "%s: %s has %d video streams; only the one of %d x %d is read",
                self.camera, self.shown, len(moving), chosen.width, chosen.height,
            )  # fmt: skip
        for item in streams:
            if item is not chosen:
                item.discard = Discard.all
        return chosen

    def _opening_fault(self, error: av.FFmpegError, took: float) -> SourceError:
        limit, url, name = self._access.open_within, self.shown, type(error).__name__
        if limit and took >= limit:
            what = "picture" if error.strerror == NO_PICTURE else "answer"
            return self._fault("stalled", True, f"no {what} from {url} for {limit:g} s")
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

    def _trusting(self) -> AbstractContextManager[dict[str, str]]:
        parts = urlsplit(self._address)
        if parts.scheme not in ("rtsps", "https") or not parts.hostname:
            return nullcontext({})
        seconds = self._access.open_within or 10.0
        return tls.trusting(parts.scheme, parts.hostname, parts.port, self._access.trust, seconds)

    def _connection_fault(self, host: str) -> SourceError:
        """What an input/output error means, which is all that FFmpeg says of host names and of TLS."""
        import socket

        try:
            socket.getaddrinfo(host, None)
        except OSError:
            return self._fault("dns", True, f"the host name in {self.shown} is unknown")
        parts = urlsplit(self._address)
        if parts.scheme in ("rtsps", "https"):
            seconds = self._access.open_within or 10.0
            if why := tls.objection(parts.scheme, host, parts.port, self._access.trust, seconds):
                return self._fault("tls", False, f"the certificate of {self.shown} is not trusted: {why}")
            return self._fault("tls", False, f"no encrypted connection to {self.shown} came about")
        return self._fault("failed", True, f"cannot open {self.shown}: input/output error")

    def _reading_fault(self, error: av.FFmpegError) -> SourceError:
        if type(error).__name__ in ("ExitError", "TimeoutError") and self._access.silent_after:
            return self._fault(
                "stalled", True, f"no picture from {self.shown} for {self._access.silent_after:g} s"
            )
        if type(error).__name__ == "InvalidDataError":
            if "mpjpeg" in self._formats:
                return self._fault("multipart", True, f"{self.shown} sends a malformed multipart message")
            return self._fault("codec", True, f"{self.shown} is damaged")
        return self._fault("closed", True, f"{self.shown} broke off: {error.strerror}")

    def _fault(self, kind: str, transient: bool, words: str) -> SourceError:
        return SourceError(kind, f"{self.camera}: {words}", transient=transient)


def path_of(url: str) -> Path:
    """The path that a path or a "file://" URL names; only a URL is percent-decoded.

    >>> path_of("file:///a%20b.mp4").name, path_of("100%25.mp4").name
    ('a b.mp4', '100%25.mp4')
    """
    return Path(unquote(url[7:])) if url.lower().startswith("file://") else Path(url)


def _preference(stream: VideoStream) -> tuple[bool, int]:
    from av.stream import Disposition

    context = stream.codec_context
    return bool(stream.disposition & Disposition.default), context.width * context.height


def _end_of(packet: av.Packet[VideoStream]) -> int:
    """When a packet's picture is over, in ticks of the stream's own clock."""
    stamp = packet.pts if packet.pts is not None else packet.dts
    return stamp + (packet.duration or 0) if stamp is not None else 0


def _first_picture(stream: VideoStream, packet: av.Packet[VideoStream]) -> av.VideoFrame | None:
    """The first picture as the container's own decoder gives it, with all that the container says of it."""
    import av

    context = stream.codec_context
    context.thread_count = 1
    try:
        pictures = [*context.decode(packet), *context.decode(None)]
    except av.FFmpegError:
        return None
    return pictures[0] if pictures else None
