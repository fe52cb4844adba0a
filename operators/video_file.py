"""Frames as video files."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from flowedge import Frame, Sink
from flowedge.outputs import OutputFile, OutputPaths, check_pattern, existing, writing
from flowedge.video import yuv
from flowedge.video.clock import StreamClock

if TYPE_CHECKING:
    import av

_log = logging.getLogger(__name__)

_TICKS = 90_000  # of the file's clock in a second: what video clocks count in
_FRAGMENT = 2.0  # seconds: the most that a killed process loses, and the longest seek
_NOMINAL_RATE = 25  # frames per second that the encoder plans with where no rate is given
_THREADS = 2  # more hold more frames and give other operators less (2 cores: 1.0 x the CPU time of one)
_FRAGMENTED = {"movflags": "frag_keyframe+empty_moov+default_base_moof", "flush_packets": "1"}


@dataclass
class VideoFile(Sink[Frame]):
    """Write each camera's frames to an MP4 file in H.264, which can be played while it grows.

    `{camera}` in `path` stands for the camera's name; a second camera without it raises `ConfigError`. Frames
    keep their distance in time, so dropped ones leave no trace in the speed, unless `fps` gives a fixed rate.
    `crf` is the encoder's quality, 0 (lossless) to 51, and `preset` its effort. The file consists of fragments
    of two seconds: a process that is killed and a disk that is full leave a file that plays up to there. A full
    disk raises `OutputError`. When the frame size changes, later frames are scaled to the file's size.

    >>> sink = VideoFile("{camera}.mp4", crf=28)
    """

    path_field = "path"

    path: str
    crf: int = 23
    preset: Literal["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow"] = "superfast"
    fps: float | None = None
    _paths: OutputPaths = field(init=False, repr=False, compare=False)
    _open: dict[str, _Recording] = field(init=False, repr=False, compare=False, default_factory=dict)
    _files: dict[Path, OutputFile] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        fits = check_pattern(self.path) and Path(self.path).suffix.lower() == ".mp4"
        self.require("path", fits, 'a path like "{camera}.mp4"')
        self.require("crf", 0 <= self.crf <= 51, "a whole number from 0 to 51")
        self.require("fps", self.fps is None or self.fps > 0, "a number of frames per second above 0")
        self._paths = OutputPaths(self.path)

    def check_outputs(self, cameras: Sequence[str]) -> None:
        self._paths.check(cameras)

    def write(self, frame: Frame, /) -> None:
        """Encode the frame into its camera's file."""
        camera = frame.origin.camera
        if camera not in self._open:
            self._open[camera] = self._begun(camera, frame)
        self._act(camera, lambda recording: recording.add(frame))

    def end(self, camera: str) -> None:
        """Finish the camera's file; when the camera comes back it gets another one."""
        if camera in self._open:
            self._act(camera, _Recording.finish)
            path = self._open.pop(camera).path
            if self._paths.own(camera):  # any other stays locked, lest another sink begins it anew
                self._files[path].close()

    def close(self) -> None:
        """Finish every file, also when one of them fails."""
        with ExitStack() as stack:
            for file in self._files.values():  # see `end`
                stack.callback(file.close)
            for camera in self._open:
                stack.callback(self.end, camera)

    def written(self) -> Sequence[Path]:
        """The files begun so far that are still there."""
        return existing(self._files)

    def _act(self, camera: str, act: Callable[[_Recording], None]) -> None:
        recording = self._open[camera]
        try:
            with writing(recording.path):
                act(recording)
        except BaseException:
            self._open.pop(camera).abandon()
            raise

    def _begun(self, camera: str, frame: Frame) -> _Recording:
        path, count = self._paths.of(camera), 1
        while path in self._files:  # the camera has come back: what it showed before must not be lost
            count += 1
            path = path.with_name(f"{self._paths.of(camera).stem}-{count}.mp4")
        with writing(path):
            file = self._files[path] = OutputFile("VideoFile.path", path)
            recording = _Recording(file, frame, self.fps, {"crf": str(self.crf), "preset": self.preset})
        if count > 1:
            _log.warning("%s: %s came back, going on in %s", self.name, camera, path)
        return recording


class _Recording:
    """One file being written."""

    def __init__(self, file: OutputFile, first: Frame, fps: float | None, options: dict[str, str]) -> None:
        import av

        picture = _encodable(first)
        self.path = file.path
        self._file = file
        self._fps = fps
        self._clock = StreamClock()
        self._file_size = picture.width, picture.height
        self._sizes = {self._file_size}  # that are the file's or were told of
        self._count = 0
        self._ticks = -1
        self._key_due = 0
        self._whole = 0
        self._container = av.open(f"file:{self.path}", "w", format="mp4", options=_FRAGMENTED)
        rate = Fraction(fps or _NOMINAL_RATE).limit_denominator(1001)
        self._stream = self._container.add_stream("libx264", rate, options=options)
        self._stream.width, self._stream.height = self._file_size
        self._stream.pix_fmt = picture.format.name
        codec = self._stream.codec_context
        codec.time_base = Fraction(1, _TICKS)
        codec.gop_size = 1000  # key frames come by time, see `add`
        codec.max_b_frames = 0  # so that frames are written in the order in which they are shown
        codec.thread_count = _THREADS
        yuv.copy_colours(picture, codec)

    def add(self, frame: Frame) -> None:
        from av.video.frame import PictureType

        picture = _encodable(frame)
        self._note_size(picture)
        elapsed = self._count / self._fps if self._fps else self._clock.read(frame.origin)
        before, self._ticks = self._ticks, max(self._ticks + 1, round(elapsed * _TICKS))
        picture.pts, picture.time_base = self._ticks, Fraction(1, _TICKS)
        due = self._ticks >= self._key_due
        picture.pict_type = PictureType.I if due else PictureType.NONE
        if due:
            self._key_due = self._ticks + round(_FRAGMENT * _TICKS)
        self._count += 1
        self._mux(picture, self._ticks - before)

    def finish(self) -> None:
        self._mux(None, _TICKS // _NOMINAL_RATE)
        self._container.close()

    def abandon(self) -> None:
        """Leave the file as it was when it last was whole."""
        with suppress(OSError):  # it would hide the error
            self._container.close()
        with suppress(OSError):
            self._file.truncate(self._whole)

    def _mux(self, picture: av.VideoFrame | None, duration: int) -> None:
        for packet in self._stream.encode(picture):
            packet.duration = duration
            self._container.mux(packet)
            self._whole = self._file.size

    def _note_size(self, picture: av.VideoFrame) -> None:
        """Tell once for each size that the encoder scales: a run may switch between sizes all the time."""
        size = picture.width, picture.height
        if size not in self._sizes:
            _log.warning(
                "%s: frames are now %d x %d, scaled to the file's %d x %d", self.path, *size, *self._file_size
            )
            self._sizes.add(size)


def _encodable(frame: Frame) -> av.VideoFrame:
    """The frame as a picture of our own, as the encoder wants it: planar YUV of even size.

    Its time stamps will be set, so it must not be the decoder's picture, which others look at.
    """
    picture = frame.picture
    if isinstance(picture, np.ndarray):
        return yuv.from_bgr(picture)
    if picture.format.name in yuv.FORMATS:
        return yuv.copied(picture, picture.width & ~1, picture.height & ~1)
    return picture.reformat(picture.width & ~1, picture.height & ~1, yuv.FORMATS[0])
