"""H.264 files as RTP packets: what a camera puts on the wire, made without decoding anything.

`load_clip` reads a file into access units (one coded picture each) and `RtpStream` cuts
them into RTP packets as RFC 6184 says, with the RTCP sender reports of RFC 3550 that tell
a receiver which wall-clock time an RTP timestamp stands for.

All media times here are integers in ticks of the 90 kHz clock that RTP prescribes for video.
"""

from __future__ import annotations

import base64
import operator
import secrets
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.bitstream import BitStreamFilterContext
from av.packet import Packet
from av.video.stream import VideoStream

CLOCK_RATE = 90_000
PAYLOAD_TYPE = 96  # the first of the dynamic range; the SDP says what it means
MAX_PAYLOAD = 1400  # keeps IP, UDP and RTP headers within an Ethernet frame of 1500 bytes

SPS, PPS, ACCESS_UNIT_DELIMITER, FU_A = 7, 8, 9, 28
NTP_EPOCH = 2_208_988_800  # seconds from 1900, where NTP counts from, to 1970


class ClipError(Exception):
    """The file cannot be served; the message says why in one sentence."""


@dataclass(frozen=True, slots=True)
class AccessUnit:
    """One coded picture: when to send it, when it was captured, and its NAL units.

    The first unit of a clip is sent at tick 0. Nothing is captured after it was sent:
    pictures that wait for later ones (B-frames and their references) were captured earlier.
    """

    sent: int
    captured: int
    nals: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Clip:
    """An H.264 video in decoding order, starting at a key frame, held in memory."""

    units: tuple[AccessUnit, ...]
    duration: int
    fps: float
    parameter_sets: tuple[bytes, ...]

    def sdp(self) -> str:
        """Describe the clip as the SDP of a live RTSP presentation."""
        sps = next(nal for nal in self.parameter_sets if _kind(nal) == SPS)
        sprop = ",".join(base64.b64encode(nal).decode() for nal in self.parameter_sets)
        parameters = f"packetization-mode=1;profile-level-id={sps[1:4].hex()};sprop-parameter-sets={sprop}"
        lines = (
            "v=0",
            "o=- 0 0 IN IP4 0.0.0.0",
            "s=FlowEdge test stream",
            "c=IN IP4 0.0.0.0",
            "t=0 0",
            "a=control:*",
            f"m=video 0 RTP/AVP {PAYLOAD_TYPE}",
            f"a=rtpmap:{PAYLOAD_TYPE} H264/{CLOCK_RATE}",
            f"a=fmtp:{PAYLOAD_TYPE} {parameters}",
            f"a=framerate:{self.fps:g}",
            "a=control:track0",
        )
        return "".join(f"{line}\r\n" for line in lines)


def load_clip(path: Path | str, fps: float | None = None) -> Clip:
    """Read the H.264 video of a file; `fps` plays it faster or slower than it was recorded."""
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise ClipError(f"{path} has no video.")
            stream = container.streams.video[0]
            codec = stream.codec_context.name
            if codec != "h264":
                raise ClipError(f"{path} holds {codec} video, but this server sends H.264 only.")
            native_fps = float(stream.average_rate or 25)
            packets = list(_annex_b_packets(stream))
    except (av.FFmpegError, OSError) as error:
        raise ClipError(f"{path} cannot be read: {error.strerror}.") from error
    speed = Fraction(fps / native_fps) if fps else Fraction(1)
    return _clip_of(path, packets, fps or native_fps, speed)


def _annex_b_packets(stream: VideoStream) -> Iterator[Packet[VideoStream]]:
    """Yield the stream's packets from its first key frame on, with start codes between NAL units."""
    # MP4 and Matroska store lengths in place of start codes; other containers pass unchanged.
    to_annex_b = BitStreamFilterContext("h264_mp4toannexb", stream)
    started = False
    for packet in stream.container.demux(stream):  # type: ignore[attr-defined]
        started = started or packet.is_keyframe
        if started and packet.size:
            yield from to_annex_b.filter(packet)


def _clip_of(path: Path | str, packets: Sequence[Packet[VideoStream]], fps: float, speed: Fraction) -> Clip:
    """Put packets on the clip's own timeline and parameter sets in front of every key frame."""
    times: list[int] = []
    for packet in packets:
        if packet.pts is None:
            raise ClipError(f"{path} has video without timestamps; put it into an MP4 file first.")
        times.append(round(packet.pts * Fraction(packet.time_base) * CLOCK_RATE / speed))
    units: list[tuple[bytes, ...]] = []
    sets: tuple[bytes, ...] = ()
    for packet in packets:
        nals = _split_nals(bytes(packet))
        parameter_sets = tuple(nal for nal in nals if _kind(nal) in (SPS, PPS))
        if any(_kind(nal) == SPS for nal in parameter_sets):
            sets = parameter_sets
        if packet.is_keyframe:
            nals = (*sets, *(nal for nal in nals if nal not in sets))
        units.append(nals)
    if not units or not any(_kind(nal) == SPS for nal in units[0]):
        raise ClipError(f"{path} has no key frame with parameter sets to start from.")

    # Decoding takes place at the pace of showing. (Matroska keeps no decoding times anyway.)
    shown = sorted(times)
    first, delay = shown[0], max(map(operator.sub, times, shown))
    return Clip(
        units=tuple(
            AccessUnit(sent - first, time - delay - first, nals)
            for sent, time, nals in zip(shown, times, units, strict=True)
        ),
        duration=shown[-1] - first + round(CLOCK_RATE / fps),
        fps=fps,
        parameter_sets=tuple(nal for nal in units[0] if _kind(nal) in (SPS, PPS)),
    )


def _split_nals(data: bytes) -> tuple[bytes, ...]:
    """Split an Annex B access unit; delimiters go, since RTP's marker bit does their work."""
    # A NAL unit never ends in zero: what is stripped belongs to a four-byte start code.
    nals = (piece.rstrip(b"\0") for piece in data.split(b"\0\0\1"))
    return tuple(nal for nal in nals if nal and _kind(nal) != ACCESS_UNIT_DELIMITER)


def _kind(nal: bytes) -> int:
    return nal[0] & 0x1F


class Timeline:
    """Where a client is in its video, on one clock through loops, gaps and changes of clip.

    The first picture is captured at tick 0.
    """

    def __init__(self, clip: Clip) -> None:
        """Start at the clip's first key frame."""
        self.clip = clip
        self._index = 0
        self._origin = -clip.units[0].captured

    @property
    def unit(self) -> AccessUnit:
        """The access unit that comes next."""
        return self.clip.units[self._index]

    @property
    def due(self) -> int:
        """When the next access unit has to be sent."""
        return self._origin + self.unit.sent

    @property
    def captured(self) -> int:
        """When the next access unit was captured."""
        return self._origin + self.unit.captured

    def advance(self) -> None:
        """Go to the next access unit; after the last, to the first again."""
        self._index += 1
        if self._index == len(self.clip.units):
            self._index = 0
            self._origin += self.clip.duration

    def skip_to(self, tick: int) -> None:
        """Leave a gap, so that the next access unit is due at this tick."""
        self._origin += tick - self.due

    def switch(self, clip: Clip) -> None:
        """Go on with another clip, captured from the moment on when the next unit was due."""
        now = self.due
        self.clip, self._index = clip, 0
        self._origin = now - clip.units[0].captured


class RtpStream:
    """The sender's state of one RTP stream: its numbers, and the packets made with them."""

    def __init__(self) -> None:
        """Choose identifiers at random, as RFC 3550 asks for."""
        self.ssrc = secrets.randbits(32)
        self.sequence = secrets.randbits(16)
        self._clock_offset = secrets.randbits(32)
        self._packets = 0
        self._octets = 0

    def timestamp(self, tick: int) -> int:
        """Translate a media time to the RTP timestamp on the wire."""
        return (tick + self._clock_offset) & 0xFFFFFFFF

    def packets(self, nals: Iterable[bytes], captured: int) -> list[bytes]:
        """Cut one access unit into RTP packets; the last carries the marker bit."""
        payloads = [payload for nal in nals for payload in _payloads(nal)]
        timestamp, packets = self.timestamp(captured), []
        for left, payload in zip(reversed(range(len(payloads))), payloads, strict=True):
            marker = 0x80 if left == 0 else 0
            header = (0x80, PAYLOAD_TYPE | marker, self.sequence, timestamp, self.ssrc)
            packets.append(struct.pack("!BBHII", *header) + payload)
            self.sequence = (self.sequence + 1) & 0xFFFF
        self._packets += len(payloads)
        self._octets += sum(map(len, payloads))
        return packets

    def sender_report(self, wall_clock: float, tick: int) -> bytes:
        """Say in RTCP that media time `tick` is `wall_clock` (seconds since 1970)."""
        seconds, fraction = divmod(round((wall_clock + NTP_EPOCH) * 2**32), 2**32)
        counts = (self._packets & 0xFFFFFFFF, self._octets & 0xFFFFFFFF)
        ntp = (seconds & 0xFFFFFFFF, fraction)
        report = struct.pack("!BBHIIIIII", 0x80, 200, 6, self.ssrc, *ntp, self.timestamp(tick), *counts)
        # Every compound RTCP packet has to name its source (SDES with a CNAME item).
        name = f"{self.ssrc:08x}@flowedge".encode()
        item = struct.pack("!IBB", self.ssrc, 1, len(name)) + name
        item += bytes(4 - len(item) % 4)
        return report + struct.pack("!BBH", 0x81, 202, len(item) // 4) + item


def _payloads(nal: bytes) -> Iterator[bytes]:
    """Yield the RTP payloads of one NAL unit: itself, or FU-A fragments if it is too long."""
    if len(nal) <= MAX_PAYLOAD:
        yield nal
        return
    indicator = (nal[0] & 0xE0) | FU_A
    size = MAX_PAYLOAD - 2
    for at in range(1, len(nal), size):
        start = 0x80 if at == 1 else 0
        end = 0x40 if at + size >= len(nal) else 0
        yield bytes((indicator, start | end | _kind(nal))) + nal[at : at + size]
