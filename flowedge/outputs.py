"""Where sinks write: a path for each camera, one writer for each file, one sentence when it cannot be written.

Sources hold a shared `flock` on the files that they read and sinks an exclusive one on those that they write.
The lock belongs to the file itself, so it holds by whatever path or link the file is reached, in one run and
between runs; the kernel drops it when a process dies, and no file has to be put beside the data. Where a file
system has no locks, files are read and written without.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from flowedge.errors import ConfigError, UserError

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
"""Pictures that a folder is read for, and that are not replaced while it is."""


class OutputError(UserError):
    """A file that cannot be written: a full disk, a folder that is not there or not ours."""


class OutputPaths:
    """The paths of one sink: `{camera}` in the pattern stands for the name of the camera.

    >>> OutputPaths("{camera}.mp4").of("north")
    PosixPath('north.mp4')
    """

    def __init__(self, pattern: str, *, shared: bool = False) -> None:
        self._pattern = pattern
        self._shared = shared
        self._paths: dict[str, Path] = {}

    def of(self, camera: str) -> Path:
        """The path for this camera, its folder made.

        Raises `ConfigError` where another camera has it and it is not to be shared.
        """
        if camera not in self._paths:
            path = Path(self._pattern.replace("{camera}", camera))
            if path in self._paths.values() and not self._shared:
                raise self._taken(path, next(iter(self._paths)), camera)
            with writing(path):
                path.parent.mkdir(parents=True, exist_ok=True)
            self._paths[camera] = path
        return self._paths[camera]

    def check(self, cameras: Iterable[str]) -> None:
        """Raise `ConfigError` where two of these cameras would have one path."""
        shown: dict[Path, str] = {}
        for camera in cameras:
            path = Path(self._pattern.replace("{camera}", camera))
            if shown.setdefault(path, camera) != camera and not self._shared:
                raise self._taken(path, shown[path], camera)

    def _taken(self, path: Path, holder: str, camera: str) -> ConfigError:
        return ConfigError(
            f'path "{path}" would hold the cameras {holder} and {camera}: '
            f'put {{camera}} in it, e.g. "{path.with_stem(path.stem + "-{camera}")}"'
        )

    def own(self, camera: str) -> Path | None:
        """The path that this camera has for itself, where it has been asked for before."""
        return self._paths.get(camera) if "{camera}" in self._pattern else None


class InputFiles:
    """The files that a source reads: no sink writes to them before `close`."""

    def __init__(self) -> None:
        self._files: dict[Path, int] = {}

    def add(self, path: Path) -> None:
        """Protect a file or the pictures of a folder; what is neither, or is still written, needs nothing."""
        with suppress(OSError):
            if path not in self._files and (path.is_file() or path.is_dir()):  # opening a pipe would wait
                self._files[path] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                fcntl.flock(self._files[path], fcntl.LOCK_SH | fcntl.LOCK_NB)

    def close(self) -> None:
        """Let the files go."""
        while self._files:
            os.close(self._files.popitem()[1])


class OutputFile:
    """A file that is written from its beginning and that nobody else reads or writes meanwhile.

    A device or a pipe is written to as it is. `owner` is the setting that gave the path, such as
    "VideoFile.path", for messages. With `append`, what is there stays. Raises `ConfigError` where the file is
    in use, and `OSError`.
    """

    def __init__(self, owner: str, path: Path, *, append: bool = False) -> None:
        self.path = path
        self._handle = _opened(path)
        try:
            self._status = os.fstat(self._handle)
            self._regular = stat.S_ISREG(self._status.st_mode)
            if self._regular:
                _claim(self._handle, owner, path)
                if append:
                    os.lseek(self._handle, 0, os.SEEK_END)
                else:
                    os.ftruncate(self._handle, 0)
        except BaseException:
            self.close()
            raise

    @property
    def closed(self) -> bool:
        """Whether the file was let go."""
        return self._handle < 0

    @property
    def size(self) -> int:
        """Bytes in the file. Raises `FileNotFoundError` where it has been moved or deleted."""
        status = self.path.stat()
        if not os.path.samestat(status, self._status):
            raise FileNotFoundError(errno.ENOENT, "it was replaced while it was written")
        return status.st_size

    def write(self, data: bytes) -> None:
        """Append data. Raises `OSError`, also where the file has been moved or deleted."""
        _ = self.size
        _write_all(self._handle, data)

    def truncate(self, size: int) -> None:
        """Cut the file, where it is one that can be cut."""
        if self._regular:
            os.ftruncate(self._handle, size)

    def close(self) -> None:
        """Let the file go; `write` has told what went wrong before."""
        if self._handle >= 0:
            with suppress(OSError):
                os.close(self._handle)
            self._handle = -1


class ReplacedFile:
    """A file whose content is replaced in one step, so whoever looks sees a whole one, and never a lock file.

    What a symbolic link names is replaced, not the link; a device or a pipe is written to as it is. `owner` is
    the setting that gave the path, for messages. Until `close`, nobody else may write the file.
    """

    def __init__(self, owner: str, path: Path) -> None:
        self._owner, self._path = owner, path
        self._handle = -1  # of the file as we wrote it last, which holds the lock

    def write(self, data: bytes) -> None:
        """Write the content. Raises `ConfigError` where the file is in use, and `OSError`."""
        if _is_special(self._path):
            handle = _opened(self._path, create=False)
            try:
                _write_all(handle, data)
            finally:
                os.close(handle)
        else:
            self._replace(Path(os.path.realpath(self._path)), data)

    def close(self) -> None:
        """Let the file go."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def _replace(self, target: Path, data: bytes) -> None:
        part = target.with_name(f".{target.name}.part")  # in the same folder, where a rename is one step
        handle = self._begun(part)
        try:
            _write_all(handle, data)
            self._check_free(target)
            part.replace(target)
        except BaseException:
            with suppress(OSError):  # it must not hide the error
                part.unlink()
            os.close(handle)
            raise
        self.close()
        self._handle = handle

    def _begun(self, part: Path) -> int:
        """The unfinished file, locked; what a killed process left in its place is removed."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            handle = os.open(part, flags, 0o666)
        except FileExistsError:
            self._check_free(part)
            part.unlink()
            handle = os.open(part, flags, 0o666)
        try:
            _claim(handle, self._owner, self._path)
        except BaseException:
            os.close(handle)
            raise
        return handle

    def _check_free(self, path: Path) -> None:
        """Raise `ConfigError` where somebody else reads or writes the file at `path`."""
        try:
            handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:  # it is not there, or not for us to read: then the rename decides
            return
        try:
            if self._handle < 0 or not os.path.samestat(os.fstat(handle), os.fstat(self._handle)):
                _claim(handle, self._owner, self._path)
                if path.suffix.lower() in PICTURE_SUFFIXES and _is_read(path.parent):
                    raise ConfigError(
                        f'{self._owner}: "{self._path}" is one of the pictures being read: choose another name'
                    )
        finally:
            os.close(handle)


class LineFiles:
    """Text files that hold whole lines at any moment; each is opened at its first line.

    `owner` is the setting that gave the paths, for messages.
    """

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self._files: dict[Path, OutputFile] = {}

    def write(self, path: Path, text: str) -> None:
        """Write lines to the file at `path`; raises `OutputError`, and `ConfigError` where it is in use."""
        with writing(path):
            if path not in self._files or self._files[path].closed:
                self._files[path] = OutputFile(self._owner, path, append=path in self._files)
            self._files[path].write(text.encode())

    def end(self, path: Path) -> None:
        """Let one file go; what is written to it later goes behind what is there."""
        if path in self._files:
            self._files[path].close()

    def paths(self) -> tuple[Path, ...]:
        """The files opened so far that are still there."""
        return existing(self._files)

    def close(self) -> None:
        """Close all files."""
        for file in self._files.values():
            file.close()


def existing(paths: Iterable[Path]) -> tuple[Path, ...]:
    """Those of the paths that are there: a file may have been deleted since it was written."""
    return tuple(path for path in paths if path.exists())


def check_pattern(pattern: str) -> bool:
    """Whether a path names a file and has no placeholder but `{camera}`.

    >>> [check_pattern(pattern) for pattern in ("{camera}.mp4", "{cam}.mp4", "{{camera}}.mp4", "")]
    [True, False, False, False]
    """
    rest = pattern.replace("{camera}", "")
    return not set("{}") & set(rest) and bool(Path(pattern).name)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an error of the operating system into one sentence about `path`: an `OutputError`."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        cause = "there is no space left for it; what was written before is whole" if full else error.strerror
        if error.errno == errno.ENXIO:
            cause = "no process reads this pipe; start its reader first"
        raise OutputError(f"{path}: cannot be written: {cause}") from error


def _opened(path: Path, *, create: bool = True) -> int:
    """A descriptor to write to what is at `path`, as it is; a pipe that nobody reads is an error, no wait."""
    flags = os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC | (os.O_CREAT if create else os.O_APPEND)
    handle = os.open(path, flags, 0o666)
    os.set_blocking(handle, True)
    return handle


def _write_all(handle: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(handle, rest) :]


def _claim(handle: int, owner: str, path: Path) -> None:
    """Lock an open file for writing. Raises `ConfigError` where somebody reads or writes it."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            use = "is being written by another sink or another run"
        else:
            use = "is the video being read"
        raise ConfigError(f'{owner}: "{path}" {use}: choose another name') from None
    except OSError:  # a file system without locks
        return


def _is_read(folder: Path) -> bool:
    """Whether a source reads the pictures of a folder. Another that asks holds the lock for an instant only."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        for _ in range(5):
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(0.01)
            else:
                return False
    except OSError:  # a file system without locks
        return False
    finally:
        os.close(handle)
    return True


def _is_special(path: Path) -> bool:
    """Whether a path names a device, a pipe, a socket, a folder, or an open file of a process (/dev/stdout)."""
    parent, name = os.path.realpath(path.parent), path.name
    if parent.startswith("/proc/") or (
        path.is_symlink() and str(Path(parent, os.readlink(path))).startswith("/proc/")
    ):
        return path.exists()
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except FileNotFoundError:
        return not name
