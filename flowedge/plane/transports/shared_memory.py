"""Shared memory between the processes of one host: a large value is written once and read in place by many.

The writer has a `Pool`: one memory file (memfd) of fixed size, of which only the pages in use take memory.
`Pool.write` puts a block into a *slot* of it and returns a descriptor, 40 bytes that go to the readers by any
other way. A reader's `Views.read` turns the descriptor into a read-only view of the slot; when the last array
or picture over that view has died, the reader's claim is released, and without claims the slot is free.

No atomic operation is needed, because every word has one writer:

    at                bytes            content                                              written by
    0                 64               magic, version, name of the pool, its random number  the writer, once
    4096              64 x 64          names of readers, by row                             the writer
    8192              4096 x 32        slots: generation, offset, length, bit set of rows   the writer
    139264            64 x 4096 x 8    by row and slot: the generation that was released    the row's reader
    2236416           capacity         blocks, each at the start of a page                  the writer

A generation is never used twice, so a descriptor fits one block or none. Readers map the blocks without the
right to write: code that writes into a picture ends its own process, and harms no other reader's picture.

A memory file has no name in the file system: the kernel frees it when the last process that has mapped it is
gone, however it ended, so nothing has to be cleaned; Docker's limit of 64 MiB on /dev/shm does not hold for it;
readers come to it by the writer's entry in /proc, which the kernel opens for the same user only. Its size is
sealed: nobody can cut it off beneath a reader.

Why not iceoryx2 (0.10)? It is faster: 1.7 to 1.9 ms for a hop of 6.2 MB; this one, with block, request and
Zenoh, takes 2.8 to 3.0 ms, at equal frames/s (`python -m tools.bench transports`, medians at 30 frames/s on
two busy cores). Both copy for 1.5 ms. The rest here is 0.45 ms for the message, three threads of Zenoh (a
Unix socket alone takes 0.12 ms), and 0.6 ms of Python, which takes several times as long as in a loop because
the pixels have driven its code and data out of the caches. But, as measured with iceoryx2: a view does not
keep its sample, so a picture that outlives it shows another one; views are writeable; a subscriber that keeps
as many samples as it may gets nothing more, so a few kept pictures stop all cameras; three subscribers that
may keep 8 pictures each need 610 MB of /dev/shm for one publisher, and where that is smaller the process ends
by SIGBUS; after kill -9 the files stay until somebody starts again; and its queue would stand beside that of
the small values, whose order with the pictures would have to be restored.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import secrets
import stat
import struct
import threading
import time
import weakref
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from flowedge.errors import UserError
from flowedge.plane.transports.extents import UNIT, Extents
from flowedge.wire.blocks import Block, WireError

ROWS = 64
"""The most readers that a pool can have at a time."""

SLOTS = 4096
"""The most blocks that can lie in a pool at a time."""

_NAME_BYTES = 64
_NAMES, _TABLE = 4096, 4096 + ROWS * _NAME_BYTES
_RELEASED = _TABLE + SLOTS * 32
_DATA = _RELEASED + ROWS * SLOTS * 8
_HEADER = struct.Struct(f"<4sI{_NAME_BYTES}s16s")
_SLOT = struct.Struct("<4sIi16sIQ")  # magic, process id and file descriptor of the writer, random number, slot
_MAGIC, _VERSION = b"FEWS", 1
_PREFIX = "flowedge-"
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL

_LOOKED_AT = 32  # slots at each write, so that its cost does not grow with their number
_FIRST_PAUSE, _LONGEST_PAUSE = 0.0002, 0.002  # seconds between looks at a full pool


class LossCause(Enum):
    """Why a slot cannot be read."""

    OVERWRITTEN = "overwritten"
    """The claim of this reader has ended, because it was forgotten or has released the slot."""
    WRITER_GONE = "writer gone"
    """The process that wrote the slot has ended or closed its pool, or it is not on this host."""
    GARBLED = "garbled"
    """The bytes are not a descriptor that `Pool.write` has returned for this reader."""


class SlotLost(WireError):  # noqa: N818 - an event in the life of a slot, and often nobody's error
    """A slot that cannot be read; `cause` says why, for the counts."""

    def __init__(self, cause: LossCause, message: str) -> None:
        super().__init__(message)
        self.cause = cause


@dataclass(slots=True)
class _Written:
    """A slot in use: by the rows in `claims`, whose readers may look at it, or by the thread that writes it."""

    index: int
    generation: int
    offset: int
    size: int
    claims: set[int]
    writing: bool = True


class Pool:
    """The writer's side: memory of which `capacity` bytes can hold blocks. One for a process; thread-safe.

    Only pages that hold or held a block take memory, so `capacity` is an upper limit and not a price; it must
    fit the machine, because the kernel ends a process for which there is no page. `trim` gives pages back.
    Raises `UserError` when the system refuses the memory.

    >>> from flowedge.values import Event, Origin
    >>> from flowedge.wire.blocks import block, decode
    >>> pool, views = Pool("worker-1", 1 << 20), Views("worker-2")
    >>> slot = pool.write(block(Event(Origin("north"), "door", {"open": True})), ["worker-2"])
    >>> view = views.read(slot)
    >>> decode(view).data, pool.used
    ({'open': True}, 4096)
    >>> del view
    >>> pool.used
    0
    >>> views.close(), pool.close()
    (None, None)
    """

    def __init__(self, name: str, capacity: int) -> None:
        capacity = capacity // UNIT * UNIT
        if capacity <= 0:
            raise UserError(f"pool {name}: a capacity of at least {UNIT} bytes is needed")
        label = _label(name)
        self._nonce = secrets.token_bytes(16)
        try:
            self._fd = os.memfd_create(f"{_PREFIX}{name}", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        except OSError as error:
            raise UserError(f"pool {name}: the system refuses a memory file: {error.strerror}") from error
        try:
            os.fchmod(self._fd, 0o600)
            os.ftruncate(self._fd, _DATA + capacity)
            fcntl.fcntl(self._fd, fcntl.F_ADD_SEALS, _SEALS)
            self._memory = mmap.mmap(self._fd, _DATA + capacity)
        except OSError as error:
            os.close(self._fd)
            reason = f"the system refuses {capacity} bytes of shared memory: {error.strerror}"
            raise UserError(f"pool {name}: {reason}; give it less") from error
        self.name, self.capacity = name, capacity
        self._pid = os.getpid()
        self._words = memoryview(self._memory)[:_DATA].cast("Q")
        self._extents = Extents(capacity)
        self._rows: dict[str, int] = {}
        self._free_rows = deque(range(ROWS))
        self._written: dict[int, _Written] = {}
        self._free_slots = list(range(SLOTS))
        self._generation = 0
        self._highest = self._touched = 0
        self._lock = threading.Lock()
        self._closed = False
        _HEADER.pack_into(self._memory, 0, _MAGIC, _VERSION, label, self._nonce)

    def write(self, block: Block, readers: Collection[str], *, timeout: float = 0.0) -> bytes | None:
        """Write a block for `readers` and return its descriptor; None when there is no room in `timeout` s.

        The claims of the readers begin here: when the descriptor cannot be sent to them, `withdraw` it. Raises
        `UserError` for a block that is larger than the whole pool and for more than 64 readers at a time.
        """
        if not readers:
            raise ValueError("a slot without readers would be free at once")
        if block.size > self.capacity:
            raise UserError(f"pool {self.name}: {block.size} bytes do not fit {self.capacity}: make it larger")
        deadline, pause = time.monotonic() + timeout, _FIRST_PAUSE
        while (written := self._claim(block.size, readers)) is None:
            left = deadline - time.monotonic()
            if left <= 0 or self._closed:
                return None
            time.sleep(min(pause, left))
            pause = min(2 * pause, _LONGEST_PAUSE)
        end = written.offset + block.size
        try:
            block.write_into(memoryview(self._memory)[_DATA + written.offset : _DATA + end])
        except BaseException:
            written.claims = set()
            raise
        finally:
            written.writing = False  # from now on `_collect` may free it
        return _SLOT.pack(_MAGIC, self._pid, self._fd, self._nonce, written.index, written.generation)

    def withdraw(self, slot: bytes) -> None:
        """Free a slot whose descriptor has reached nobody."""
        *_, index, generation = _SLOT.unpack(slot)
        with self._lock:
            written = self._written.get(index)
            if written and written.generation == generation:
                self._free(written)

    def forget(self, reader: str) -> None:
        """End the claims of a reader whose process has ended. One of the same name may come after it.

        A reader that lives on in spite of this is refused what it reads from now on; what it looks at already
        may be overwritten beneath it.
        """
        with self._lock:
            row = self._rows.pop(reader, None)
            if row is None:
                return
            at = _NAMES + row * _NAME_BYTES
            self._memory[at : at + _NAME_BYTES] = bytes(_NAME_BYTES)
            self._free_rows.append(row)
            for written in self._written.values():
                written.claims.discard(row)
                self._words[_entry(written.index) + 3] &= ~(1 << row)
            self._collect()

    @property
    def used(self) -> int:
        """Bytes of the slots that a reader may still look at, in whole pages."""
        with self._lock:
            self._collect()
            return self.capacity - self._extents.free

    def trim(self) -> None:
        """Give back the memory that nothing has needed since the last call. Call it every few seconds."""
        with self._lock:
            self._collect()
            if self._highest < self._touched:
                self._memory.madvise(mmap.MADV_REMOVE, _DATA + self._highest, self._touched - self._highest)
                self._touched = self._highest
            ends = [written.offset + written.size for written in self._written.values()]
            self._highest = -(-max(ends, default=0) // UNIT) * UNIT

    def close(self) -> None:
        """Write no more. Descriptors that nobody has read yet are lost; what readers look at stays for them."""
        with self._lock:
            if not self._closed:
                self._closed = True
                os.close(self._fd)

    def _claim(self, size: int, readers: Collection[str]) -> _Written | None:
        with self._lock:
            if self._closed:
                return None
            self._collect(_LOOKED_AT)
            rows = {self._row(reader) for reader in readers}
            offset = self._place(size)
            if offset is None:
                self._collect()
                offset = self._place(size)
            if offset is None:
                return None
            self._highest = max(self._highest, -(-(offset + size) // UNIT) * UNIT)
            self._touched = max(self._touched, self._highest)
            self._generation += 1
            index, words = self._free_slots.pop(), self._words
            entry = _entry(index)
            words[entry + 1], words[entry + 2] = offset, size
            words[entry + 3] = sum([1 << row for row in rows])
            words[entry] = self._generation
            written = self._written[index] = _Written(index, self._generation, offset, size, rows)
            return written

    def _place(self, size: int) -> int | None:
        return self._extents.take(size) if self._free_slots else None

    def _collect(self, most: int | None = None) -> None:
        """Free the slots that all of their readers have released, among the `most` longest not looked at."""
        words = self._words
        for written in list(islice(self._written.values(), most)):
            index, generation = written.index, written.generation
            if not written.writing:
                written.claims = {row for row in written.claims if words[_released(row, index)] != generation}
            if not written.writing and not written.claims:
                self._free(written)
            else:
                self._written[index] = self._written.pop(index)  # to the end of the queue

    def _free(self, written: _Written) -> None:
        del self._written[written.index]
        self._words[_entry(written.index)] = 0
        self._extents.give(written.offset, written.size)
        self._free_slots.append(written.index)

    def _row(self, reader: str) -> int:
        row = self._rows.get(reader)
        if row is None:
            label = _label(reader)
            if not self._free_rows:
                raise UserError(f"pool {self.name}: {reader} is one reader too many, {ROWS} is the most")
            row = self._rows[reader] = self._free_rows.popleft()
            at = _NAMES + row * _NAME_BYTES
            self._memory[at : at + _NAME_BYTES] = label
        return row


class Views:
    """The reader's side: views of the slots that were written for `reader`. One for a process; thread-safe.

    A view counts as looked at while it or anything over it lives: arrays, pictures, slices of them. Copy what
    is to be kept for long, because the writer's memory is bounded.
    """

    def __init__(self, reader: str) -> None:
        self.reader = reader
        self._label = _label(reader)
        self._segments: dict[bytes, _Segment] = {}
        self._lock = threading.Lock()

    def read(self, slot: bytes) -> memoryview:
        """The block in a slot. A slot can be read again while a view of it lives; the release counts for all.

        Raises `SlotLost` for a slot that is no longer, or never was, there for this reader.
        """
        if len(slot) != _SLOT.size or slot[:4] != _MAGIC:
            what = f"{len(slot)} bytes that begin with {bytes(slot[:8])!r}"
            raise SlotLost(LossCause.GARBLED, f"{what} are not the descriptor of a slot")
        _, pid, fd, nonce, index, generation = _SLOT.unpack(slot)
        if index >= SLOTS or not generation:
            raise SlotLost(LossCause.GARBLED, f"slot {index}, generation {generation} cannot be")
        with self._lock:
            segment = self._segments.get(nonce)
            if segment is None:
                segment = _Segment(pid, fd, nonce)
                self._segments = {n: s for n, s in self._segments.items() if s.writer != segment.writer}
                self._segments[nonce] = segment
            return segment.view(self._label, index, generation)

    def forget(self, writer: str) -> None:
        """Let go of the pool of a writer that has ended; its memory is free when the last view has died."""
        with self._lock:
            self._segments = {n: s for n, s in self._segments.items() if s.writer != writer}

    def close(self) -> None:
        """Let go of all pools. Views that live on stay whole, and are released as ever."""
        with self._lock:
            self._segments = {}


class _Segment:
    """A writer's memory, as a reader has it. It is unmapped when the last view of it has died."""

    def __init__(self, pid: int, fd: int, nonce: bytes) -> None:
        memory = _opened(pid, fd)
        try:
            status = os.fstat(memory)
            if not stat.S_ISREG(status.st_mode) or status.st_size <= _DATA or status.st_uid != os.geteuid():
                raise _gone(pid, "its file is not a pool of this user")
            if fcntl.fcntl(memory, fcntl.F_GET_SEALS) & _SEALS != _SEALS:
                raise _gone(pid, "its file is not a pool")
            control = mmap.mmap(memory, _DATA)
            magic, version, label, number = _HEADER.unpack_from(control)
            if (magic, version, number) != (_MAGIC, _VERSION, nonce):
                raise _gone(pid, "its pool is another one")
            self._blocks = mmap.mmap(memory, status.st_size - _DATA, access=mmap.ACCESS_READ, offset=_DATA)
        except (OSError, ValueError) as error:
            if isinstance(error, SlotLost):
                raise
            raise _gone(pid, f"its pool cannot be mapped: {error}") from error
        finally:
            os.close(memory)
        self.writer = label.rstrip(b"\0").decode(errors="replace")
        self._control, self._words = control, memoryview(control).cast("Q")
        self._row = 0
        self._views: dict[int, tuple[int, weakref.ref[NDArray[np.uint8]]]] = {}

    def view(self, reader: bytes, index: int, generation: int) -> memoryview:
        """The block in a slot, released when the view and all that is built on it have died."""
        entry = _entry(index)
        current, offset, size, rows = self._words[entry : entry + 4]
        if current != generation:
            raise _overwritten(f"slot {index} of {self.writer} has been given to another value")
        row = self._row_of(reader)
        if row is None or not rows >> row & 1:
            raise _overwritten(f"slot {index} of {self.writer} is not, or no longer, there for this reader")
        if not size or offset + size > len(self._blocks):
            raise SlotLost(LossCause.GARBLED, f"slot {index} of {self.writer} does not lie in its pool")
        last, living = self._views.get(index, (0, None))
        block = living() if living is not None and last == generation else None
        if block is None:
            # Once released, a slot may be reused at any time, though the writer may not have noticed yet.
            if last == generation or self._words[_released(row, index)] == generation:
                raise _overwritten(f"slot {index} of {self.writer} has been read and released")
            block = np.frombuffer(self._blocks, np.uint8, size, offset)
            self._views[index] = generation, weakref.ref(block)
            # The finalizer runs in whatever thread drops the last view, perhaps in the midst of anything: it
            # takes no lock. It holds this segment, so that it can still write when nobody else does.
            weakref.finalize(block, self._release, reader, row, index, generation).atexit = False
        return block.data

    def _release(self, reader: bytes, row: int, index: int, generation: int) -> None:
        if self._holds(row, reader):  # not when it was forgotten, and its row given to another
            self._words[_released(row, index)] = generation

    def _row_of(self, reader: bytes) -> int | None:
        if not self._holds(self._row, reader):
            self._row = next((row for row in range(ROWS) if self._holds(row, reader)), 0)
        return self._row if self._holds(self._row, reader) else None

    def _holds(self, row: int, reader: bytes) -> bool:
        at = _NAMES + row * _NAME_BYTES
        return self._control[at : at + _NAME_BYTES] == reader


def _opened(pid: int, fd: int) -> int:
    """The memory file that process `pid` has open as `fd`; anything else is not touched."""
    path = f"/proc/{pid}/fd/{fd}"
    try:
        if not os.readlink(path).startswith(f"/memfd:{_PREFIX}"):
            raise _gone(pid, "it has no pool")
        return os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except FileNotFoundError:
        raise _gone(pid, "it has ended, has closed its pool or is not on this host") from None
    except OSError as error:
        raise _gone(pid, f"its pool cannot be opened: {error.strerror}") from error


def _gone(pid: int, reason: str) -> SlotLost:
    return SlotLost(LossCause.WRITER_GONE, f"the slot's writer is process {pid}: {reason}")


def _overwritten(message: str) -> SlotLost:
    return SlotLost(LossCause.OVERWRITTEN, message)


def _label(name: str) -> bytes:
    label = name.encode()
    if not 0 < len(label) < _NAME_BYTES or b"\0" in label:
        raise UserError(f"the name {name!r} is needed with 1 to {_NAME_BYTES - 1} bytes and no zero among them")
    return label.ljust(_NAME_BYTES, b"\0")


def _entry(index: int) -> int:
    """Where the slot's generation stands, counted in words."""
    return _TABLE // 8 + 4 * index


def _released(row: int, index: int) -> int:
    """Where the row's reader says which generation of the slot it has released, counted in words."""
    return _RELEASED // 8 + row * SLOTS + index
