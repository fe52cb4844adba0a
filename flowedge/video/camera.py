"""Live cameras: attaching, staying attached, and the time of day at which their pictures were taken."""

from __future__ import annotations

import logging
import random
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from flowedge import Origin, Packet, SourceError
from flowedge.graph.contract import Detached
from flowedge.video.ffmpeg import Access, Feed
from flowedge.video.playback import Playback

if TYPE_CHECKING:
    import av
    from av.video.stream import VideoStream

log = logging.getLogger("flowedge.camera")

FIRST_PAUSE, LONGEST_PAUSE = 0.25, 10.0  # seconds between two attempts to attach, doubled each time
PICTURE_EVERY = 1.0  # seconds from one request to the next where a camera answers with a single picture
STEADY_AFTER = 10.0  # seconds of video after which a camera counts as well, and pauses begin small again
SYNCHRONISED = 5.0  # seconds that a camera's clock may differ from ours and still be believed
CLOCK_ERROR = 0.1  # seconds; what cameras that are set by NTP keep to
ARRIVAL_ERROR = 1.0  # seconds; what encoding, network and buffers add to the capture time


class Camera:
    """One live camera over all its sessions.

    Reading survives whatever may pass: a camera that is off, unplugged, frozen, rebooted or replaced by one
    of another picture size. What no retry can mend (a wrong password or path) is raised, unless the camera
    has worked before. Each change of state is logged once, in one sentence. An address that gives a single
    picture is asked again every second, as one session. Pictures in a multipart message that is malformed are
    looked for by what they begin with. What is not taken as it comes is counted in `notes`.
    """

    def __init__(self, name: str, url: str, access: Access, notes: Counter[str], *, live: bool = True) -> None:
        self._name, self._url, self._access, self._live = name, url, access, live
        self._notes = notes
        self._index = 0  # of the next session's first frame
        self._session = -1  # the number of the session; below 0 until there was a first one
        self._fault = ""  # the kind of trouble the camera is in
        self._since = 0.0  # when the session's first picture came, on the monotonic clock
        self._seen = 0.0  # when the last one came
        self._first_seen = 0.0  # when the session's first packet came

    def read(self, stop: threading.Event) -> Iterator[Packet | Detached]:
        """Yield packets until `stop` is set or a video of limited length ends; raises `SourceError`.

        `Detached` stands between the sessions, and before each further attempt to attach.

        It ends as soon as the next picture comes, and where none comes, when FFmpeg gives up waiting.
        """
        pause, self._seen = FIRST_PAUSE, time.monotonic()
        while not stop.is_set():
            self._since, asked, before = self._seen, time.monotonic(), self._index
            try:
                with Feed(self._name, self._url, self._access, self._notes) as feed:
                    yield from self._session_of(feed, stop)
                    is_polled = feed.is_picture and self._live
                    is_whole = feed.ends or (feed.is_picture and self._index > before)
                    if stop.is_set() or (is_whole and not is_polled):
                        return
                    fault = SourceError("closed", f"{self._name}: {feed.shown} closed the connection")
                if is_polled and self._index > before:
                    pause = FIRST_PAUSE
                    stop.wait(max(0.0, asked + PICTURE_EVERY - time.monotonic()))
                    continue
            except SourceError as error:
                if self._session < 0 and not error.transient:
                    raise
                fault = error
                if error.kind == "multipart":
                    self._access = replace(self._access, malformed=True)
            if self._seen - self._since > STEADY_AFTER:
                pause = FIRST_PAUSE
            self._say(fault, pause)
            yield Detached(str(fault))
            stop.wait(pause * random.uniform(0.75, 1.0))  # so that cameras lost together come back in turn
            pause = min(2 * pause, LONGEST_PAUSE)

    def _session_of(self, feed: Feed, stop: threading.Event) -> Iterator[Packet]:
        first = self._index
        goes_on = feed.is_picture and self._session >= 0 and not self._fault  # with the session before
        playback = Playback(self._name, stop, paced=self._live and feed.ends and not feed.is_picture)
        for packet in feed.read():
            arrival = time.monotonic()
            moment = feed.place(packet, arrival)
            if not playback.reaches(moment):
                return
            if self._index == first and not goes_on:
                self._attached(feed)
                self._first_seen = arrival
            if feed.is_picture:
                moment = arrival - self._first_seen
            self._seen = arrival
            width, height = feed.size
            captured, error = _capture_time(packet)
            origin = Origin(
                self._name,
                self._session,
                self._index,
                media=moment,
                time=captured,
                time_error=error,
                monotonic=self._seen,
                width=width,
                height=height,
            )
            self._index += 1
            yield feed.packet(packet, origin)

    def _attached(self, feed: Feed) -> None:
        self._since = time.monotonic()
        took = self._since - self._seen
        self._session += 1
        self._fault = ""
        if self._session == 0:
            log.info("%s: attached, %s, after %.2f s", self._name, feed, took)
        else:
            log.info("%s: back after %.1f s (session %d), %s", self._name, took, self._session, feed)

    def _say(self, fault: SourceError, pause: float) -> None:
        level = logging.DEBUG if fault.kind == self._fault else logging.WARNING
        self._fault = fault.kind
        log.log(level, "%s; next try in %.3g s", fault, pause)


def _capture_time(packet: av.Packet[VideoStream]) -> tuple[float, float]:
    """The time of day at which a picture was taken, in seconds since 1970, and how far it may be off.

    RTSP cameras report their clock every few seconds (RTCP sender reports), from which FFmpeg computes the
    time of each picture. A camera whose clock was never set is told by the difference from ours.
    """
    now = time.time()
    if packet.has_sidedata("prft"):
        (microseconds,) = struct.unpack_from("=q", memoryview(packet.get_sidedata("prft")))
        if abs(microseconds / 1e6 - now) < SYNCHRONISED:
            return microseconds / 1e6, CLOCK_ERROR
    return now, ARRIVAL_ERROR
