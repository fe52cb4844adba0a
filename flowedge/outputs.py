"""Where sinks write: a path for each camera, and one sentence when it cannot be written."""

from __future__ import annotations

import errno
import string
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from flowedge import ConfigError, UserError

READING: set[Path] = set()  # the files that sources of this process read or have read, resolved


class OutputError(UserError):
    """A file that cannot be written: a full disk, a folder that is not there or not ours."""


class OutputPaths:
    """The paths of one sink: `{camera}` in the pattern stands for the name of the camera.

    `owner` is the class of the sink, which messages name.

    >>> OutputPaths("VideoFile", "{camera}.mp4").of("north")
    PosixPath('north.mp4')
    """

    def __init__(self, owner: str, pattern: str, *, shared: bool = False) -> None:
        self._owner = owner
        self._pattern = pattern
        self._shared = shared
        self._paths: dict[str, Path] = {}

    def of(self, camera: str) -> Path:
        """The path for this camera, its folder made.

        Raises `ConfigError` where another camera has it and it is not to be shared, or where it is being read.
        """
        if camera not in self._paths:
            path = Path(self._pattern.replace("{camera}", camera))
            if path in self._paths.values() and not self._shared:
                raise ConfigError(
                    f'path "{path}" would hold the cameras {next(iter(self._paths))} and {camera}: '
                    f'put {{camera}} in it, e.g. "{path.with_stem(path.stem + "-{camera}")}"'
                )
            self.check_unread(path)
            with writing(path):
                path.parent.mkdir(parents=True, exist_ok=True)
            self._paths[camera] = path
        return self._paths[camera]

    def check_unread(self, path: Path) -> None:
        """Raise `ConfigError` where writing to `path` would destroy a video that is being read."""
        if path.resolve() in READING:
            raise ConfigError(f'{self._owner}.path: "{path}" is the video being read: choose another name')


class LineFiles:
    """Text files that hold whole lines at any moment; each is opened at its first line."""

    def __init__(self) -> None:
        self._files: dict[Path, BinaryIO] = {}

    def write(self, path: Path, text: str) -> None:
        """Write lines to the file at `path`; raises `OutputError`."""
        with writing(path):
            if path not in self._files:
                self._files[path] = path.open("wb")
            self._files[path].write(text.encode())
            self._files[path].flush()

    def paths(self) -> tuple[Path, ...]:
        """The files opened so far."""
        return tuple(self._files)

    def close(self) -> None:
        """Close all files, including one that cannot take its last bytes, which `write` has reported."""
        for file in self._files.values():
            try:
                file.close()
            except OSError:
                continue


def check_pattern(pattern: str) -> bool:
    """Whether a path names a file and has no placeholder but `{camera}`.

    >>> check_pattern("{camera}.mp4"), check_pattern("{cam}.mp4"), check_pattern("")
    (True, False, False)
    """
    try:
        names = {name for _, name, _, _ in string.Formatter().parse(pattern) if name is not None}
    except ValueError:  # a brace without its partner
        return False
    return names <= {"camera"} and bool(Path(pattern).name)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an error of the operating system into one sentence about `path`: an `OutputError`."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        cause = "there is no space left for it; what was written before is whole" if full else error.strerror
        raise OutputError(f"{path}: cannot be written: {cause}") from error
