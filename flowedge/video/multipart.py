"""The JPEG pictures of a malformed multipart message, as cameras send them over HTTP.

Cameras greet before the first boundary or send it twice, leave out what should stand before a picture, or say
that a part is 4 GB long. FFmpeg's "mpjpeg" refuses the first three. Its "mjpeg", which looks for what pictures
begin with, gathers up to 96 MiB in one of them, holds several copies, and looks for their rate before it gives
any: 10 s at two a second. So pictures are looked for here, in the bytes that FFmpeg's HTTP client gives, and
handed back to "mpjpeg"; likewise those that are sent one after the other in no message at all.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from av.container import InputContainer
    from typing_extensions import Buffer

LARGEST_PICTURE = 32 << 20  # bytes; an 8K picture of the best quality takes less
CHUNK = 1 << 16  # bytes; what has come by then is given at once
NO_PICTURE = "no picture"  # the error of a sender that sends something else

# Markers of ISO/IEC 10918-1, table B.1. Neither the stuffing of coded data nor its restarts end a picture.
_BEGIN = re.compile(rb"\xff\xd8(?=\xff)")
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")
_START_OF_IMAGE, _END_OF_IMAGE, _START_OF_SCAN = 0xD8, 0xD9, 0xDA

_HEAD = b"--picture\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n"


def pictures(chunks: Iterable[Buffer], refuse: Callable[[int], None], largest: int) -> Iterator[bytearray]:
    """Yield the JPEG pictures in a stream of bytes, each as soon as its last byte has come.

    What stands between them is passed over. A picture without an end goes as far as the next one, and one cut
    off before its coded data is passed over. A picture of more than `largest` bytes is
    passed over as well. Where more than that are passed over, `refuse` is called with their number.

    >>> jpeg = bytes.fromhex("ffd8 ffda 0002 12ff00 ffd9")
    >>> [bytes(p) == jpeg for p in pictures([b"--boundary", jpeg[:3], jpeg[3:] + b"--"], print, 1 << 20)]
    [True]
    """
    data = bytearray()
    at = passed = 0  # where in `data` the next marker is looked for; bytes passed over since the last picture
    is_begun = is_coded = False  # whether `data` begins with a picture, and its coded data has begun
    for chunk in chunks:
        data += chunk
        while match := (_MARKER if is_begun else _BEGIN).search(data, at):
            start, at = match.span()
            code = data[at - 1]
            if code in (_START_OF_IMAGE, _END_OF_IMAGE):
                is_begun = code == _START_OF_IMAGE
                end = start if is_begun else at
                if is_coded:
                    yield data[:end]
                passed = 0 if is_coded else passed + end
                del data[:end]
                at, is_coded = 2 if is_begun else 0, False
            elif len(data) < at + 2:  # the length of the segment is yet to come
                at = start
                break
            else:
                at += int.from_bytes(data[at : at + 2])
                is_coded = is_coded or code == _START_OF_SCAN
        else:
            at = max(at, len(data) - 1)
        if len(data) > largest:
            passed += len(data)
            data.clear()
            is_begun = is_coded = False
        if not is_begun:
            passed += max(0, len(data) - 2)
            at = 0
            del data[:-2]
        if passed > largest:
            refuse(passed)
            passed = 0


class Repaired:
    """A malformed message as a file that holds a well-formed one, for FFmpeg's "mpjpeg".

    `container` gives the bytes as they come. Its pictures may take `open_within` seconds until the first and
    `silent_after` from one to the next, whatever else comes meanwhile; FFmpeg's error for that is raised.
    """

    def __init__(
        self,
        container: InputContainer,
        refuse: Callable[[int], None],
        open_within: float | None,
        silent_after: float | None,
    ) -> None:
        self._container = container
        self._limit, self._silent_after = open_within, silent_after
        self._since = time.monotonic()  # when the last picture was given
        self._pictures = pictures(self._chunks(), refuse, LARGEST_PICTURE)
        self._rest = memoryview(b"")  # of the part that is being read

    def read(self, size: int) -> bytes:
        """At most `size` bytes, none beyond the end of a picture; nothing after the last one."""
        if not self._rest:
            self._since = time.monotonic()
            if (picture := next(self._pictures, None)) is None:
                return b""
            self._limit = self._silent_after
            self._rest = memoryview(_HEAD % len(picture) + picture + b"\r\n")
        part, self._rest = self._rest[:size], self._rest[size:]
        return bytes(part)

    def _chunks(self) -> Iterator[Buffer]:
        import errno

        from av.error import ExitError

        for packet in self._container.demux():
            if self._limit and time.monotonic() - self._since > self._limit:
                raise ExitError(errno.ETIMEDOUT, NO_PICTURE)
            yield packet
