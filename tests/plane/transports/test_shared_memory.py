"""The pool and its views: no slot is used again while a reader may see it, and all is free at the end."""

from __future__ import annotations

import contextlib
import fcntl
import gc
import os
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import av.filter
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from flowedge.errors import UserError
from flowedge.plane.transports.extents import UNIT
from flowedge.plane.transports.shared_memory import ROWS, SLOTS, LossCause, Pool, SlotLost, Views
from flowedge.values import Detections, Frame, Origin
from flowedge.wire.blocks import Block, block, decode


def picture(tag: int, rows: int = 10) -> Block:
    """A frame of rows x 100 pixels, about 300 bytes a row, that are all `tag`."""
    return block(Frame(Origin("north", index=tag), np.full((rows, 100, 3), tag, np.uint8)))


def shown(view: memoryview) -> int:
    """The tag of a picture. Fails when it is torn."""
    frame = decode(view)
    assert isinstance(frame, Frame)
    assert (frame.image == frame.origin.index).all()
    return frame.origin.index


@pytest.fixture
def pool() -> Iterator[Pool]:
    opened = Pool("writer", 64 * UNIT)
    yield opened
    opened.close()


@pytest.fixture
def views() -> Iterator[Views]:
    opened = Views("reader")
    yield opened
    opened.close()


def written(pool: Pool, value: Block, *readers: str) -> bytes:
    slot = pool.write(value, readers or ("reader",))
    assert slot is not None
    return slot


def cause(views: Views, slot: bytes) -> LossCause:
    with pytest.raises(SlotLost) as caught:
        views.read(slot)
    assert str(caught.value)
    return caught.value.cause


# ---------------------------------------------------------------- the life of slots

READERS = ("a", "b", "c")


class Lives(RuleBasedStateMachine):
    """Writes, reads and releases in any order, with readers that are forgotten in between."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = Pool("writer", 6 * UNIT)
        self.views = {name: Views(name) for name in READERS}
        self.tag = 0
        self.sent: list[tuple[str, int, bytes]] = []  # to whom, what, where
        self.seen: list[tuple[str, int, object]] = []  # by whom, what, through what
        self.ended: list[tuple[str, bytes]] = []

    @rule(rows=st.integers(1, 60), readers=st.sets(st.sampled_from(READERS), min_size=1))
    def write(self, rows: int, readers: set[str]) -> None:
        self.tag = self.tag % 255 + 1
        laid, used = picture(self.tag, rows), self.pool.used
        slot = self.pool.write(laid, readers)
        if slot is None:
            assert used > 0
        else:
            self.sent += [(reader, self.tag, slot) for reader in sorted(readers)]

    @precondition(lambda self: self.sent)
    @rule(data=st.data(), as_value=st.booleans())
    def read(self, data: st.DataObject, as_value: bool) -> None:
        at = data.draw(st.integers(0, len(self.sent) - 1))
        reader, tag, slot = self.sent.pop(at)
        view = self.views[reader].read(slot)
        assert shown(view) == tag
        self.seen.append((reader, tag, decode(view).image if as_value else view))
        self.ended.append((reader, slot))

    @precondition(lambda self: self.seen)
    @rule(data=st.data())
    def drop(self, data: st.DataObject) -> None:
        del self.seen[data.draw(st.integers(0, len(self.seen) - 1))]

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        """A message that reaches nobody: only when nobody has read it yet."""
        *_, slot = data.draw(st.sampled_from(self.sent))
        if any(old == slot for _, old in self.ended):
            return
        self.pool.withdraw(slot)
        self.ended += [(name, slot) for name, _, old in self.sent if old == slot]
        self.sent = [entry for entry in self.sent if entry[2] != slot]

    @rule(reader=st.sampled_from(READERS))
    def die(self, reader: str) -> None:
        """The process of a reader ends, with all that it sees, and another one of its name begins."""
        self.seen = [entry for entry in self.seen if entry[0] != reader]
        self.ended += [(name, slot) for name, _, slot in self.sent if name == reader]
        self.sent = [entry for entry in self.sent if entry[0] != reader]
        self.pool.forget(reader)
        self.views[reader] = Views(reader)

    @precondition(lambda self: self.ended)
    @rule(data=st.data())
    def read_what_has_ended(self, data: st.DataObject) -> None:
        """An old descriptor gives its own picture, while somebody looks at it, or none."""
        reader, slot = data.draw(st.sampled_from(self.ended))
        with contextlib.suppress(SlotLost):
            view = self.views[reader].read(slot)
            assert shown(view) in {tag for name, tag, _ in self.seen if name == reader}

    @rule()
    def trim(self) -> None:
        self.pool.trim()

    @invariant()
    def whole(self) -> None:
        for _, tag, through in self.seen:
            if isinstance(through, memoryview):
                assert shown(through) == tag
            else:
                assert (np.asarray(through) == tag).all()

    def teardown(self) -> None:
        for reader, tag, slot in self.sent:
            assert shown(self.views[reader].read(slot)) == tag
        self.seen.clear()
        assert self.pool.used == 0
        self.pool.close()


Lives.TestCase.settings = settings(deadline=None, max_examples=60, stateful_step_count=40)
TestLives = Lives.TestCase


def test_slot_is_free_when_the_last_thing_over_it_has_died(pool: Pool, views: Views) -> None:
    boxes = np.ones((1000, 4), np.float32)
    ones, zeros = np.ones(1000, np.float32), np.zeros(1000, np.int32)
    slot = written(pool, block(Detections(Origin("north"), boxes, ones, zeros, ("car",))))
    found = decode(views.read(slot))
    assert isinstance(found, Detections)
    rest = found.boxes[10:20]
    del found
    gc.collect()
    assert pool.used > 0
    assert (rest == 1).all()
    del rest
    assert pool.used == 0


def test_all_readers_must_have_released(pool: Pool, views: Views) -> None:
    other, slot = Views("other"), written(pool, picture(7), "reader", "other")
    first, second = views.read(slot), other.read(slot)
    del first
    assert pool.used > 0
    assert shown(second) == 7
    del second
    assert pool.used == 0


def test_second_look_shares_the_claim_of_the_first(pool: Pool, views: Views) -> None:
    slot = written(pool, picture(7))
    first = views.read(slot)
    second = views.read(slot)
    del first
    assert pool.used > 0
    assert shown(second) == 7
    del second
    assert cause(views, slot) is LossCause.OVERWRITTEN  # even before the writer has noticed
    assert pool.used == 0


def test_native_picture_is_not_released_while_ffmpeg_keeps_it(pool: Pool, views: Views) -> None:
    """Encoders and filters hold pictures whose Python objects have died."""
    source = av.VideoFrame(128, 64, "yuv420p")
    for plane in source.planes:
        plane.update(bytes([50]) * plane.buffer_size)
    value = decode(views.read(written(pool, block(Frame(Origin("north"), source)))))
    assert isinstance(value, Frame)
    native = value.picture
    assert isinstance(native, av.VideoFrame)
    del value
    graph = av.filter.Graph()
    entry = graph.add_buffer(width=128, height=64, format="yuv420p", time_base=Fraction(1, 25))
    sink = graph.add("buffersink")
    entry.link_to(sink)
    graph.configure()
    native.pts, native.time_base = 0, Fraction(1, 25)
    entry.push(native)
    del native
    gc.collect()
    assert pool.used > 0
    pulled = sink.pull()
    assert set(bytes(pulled.planes[0])) == {50}
    del pulled, graph, entry, sink
    gc.collect()
    assert pool.used == 0


def test_views_cannot_be_written_into(pool: Pool, views: Views) -> None:
    view = views.read(written(pool, picture(7)))
    assert view.readonly
    frame = decode(view)
    assert isinstance(frame, Frame)
    with pytest.raises(ValueError, match="WRITEABLE"):
        frame.image.flags.writeable = True


def test_views_outlive_both_sides(pool: Pool, views: Views) -> None:
    view = views.read(written(pool, picture(7)))
    views.close()
    pool.close()
    assert shown(view) == 7
    del view
    assert pool.used == 0


def test_full_pool_waits_for_a_release(pool: Pool, views: Views) -> None:
    view = views.read(written(pool, picture(1, 600)))
    assert pool.write(picture(2, 600), ["reader"]) is None
    held = [view]
    del view
    release = threading.Timer(0.05, held.clear)
    release.start()
    assert pool.write(picture(2, 600), ["reader"], timeout=30) is not None
    release.join()


def test_close_ends_a_wait(pool: Pool) -> None:
    written(pool, picture(1, 600))
    close = threading.Timer(0.05, pool.close)
    close.start()
    assert pool.write(picture(2, 600), ["reader"], timeout=60) is None
    close.join()


def test_no_more_slots_than_the_table_has() -> None:
    pool = Pool("writer", (SLOTS + 10) * UNIT)
    small = picture(1, 1)
    slots = [written(pool, small) for _ in range(SLOTS)]
    assert pool.write(small, ["reader"]) is None
    pool.withdraw(slots[17])
    assert pool.write(small, ["reader"]) is not None
    pool.forget("reader")
    assert pool.used == 0
    pool.close()


def test_failed_write_frees_its_slot(pool: Pool) -> None:
    class Broken(Block):
        def write_into(self, buffer: object) -> None:
            raise RuntimeError("no pixels")

    laid = picture(1)
    with pytest.raises(RuntimeError, match="no pixels"):
        pool.write(Broken(laid.size, laid._head, laid._parts), ["reader"])
    assert pool.used == 0


def test_reader_forgotten_during_a_write_frees_nothing_too_early(pool: Pool) -> None:
    """Else another thread would get the same place while the first one still writes."""
    laid = picture(1)
    during: list[int] = []

    class Slow(Block):
        def write_into(self, buffer: object) -> None:
            pool.forget("reader")
            during.append(pool.used)

    pool.write(Slow(laid.size, laid._head, laid._parts), ["reader"])
    assert during == [UNIT]
    assert pool.used == 0


def test_threads_write_and_read_at_once() -> None:
    pool, views = Pool("writer", 40 * UNIT), {name: Views(name) for name in ("a", "b")}
    failures: list[BaseException] = []

    def work(tag: int) -> None:
        try:
            for _ in range(150):
                slot = pool.write(picture(tag, 10 * tag), ["a", "b"], timeout=60)
                assert slot is not None
                looks = [views[name].read(slot) for name in ("a", "b")]
                assert [shown(look) for look in looks] == [tag, tag]
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(tag,)) for tag in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert pool.used == 0


# ---------------------------------------------------------------- limits


def test_block_larger_than_the_pool_is_named(pool: Pool) -> None:
    with pytest.raises(UserError, match=r"pool writer: \d+ bytes do not fit 262144"):
        pool.write(picture(1, 1000), ["reader"])


def test_one_reader_too_many_is_named(pool: Pool) -> None:
    slot = written(pool, picture(1), *[f"reader-{number}" for number in range(ROWS)])
    with pytest.raises(UserError, match="one-more is one reader too many"):
        pool.write(picture(1), ["one-more"])
    pool.forget("reader-7")
    assert shown(Views("one-more").read(written(pool, picture(2), "one-more"))) == 2
    assert shown(Views("reader-63").read(slot)) == 1


@pytest.mark.parametrize("name", ["", "x" * 64, "a\0b"])
def test_impossible_name_is_refused(name: str) -> None:
    with pytest.raises(UserError, match="1 to 63 bytes"):
        Pool(name, 1 << 20)
    with pytest.raises(UserError, match="1 to 63 bytes"):
        Views(name)


def test_impossible_size_is_named() -> None:
    with pytest.raises(UserError, match="refuses 4611686018427387904 bytes"):
        Pool("writer", 1 << 62)
    with pytest.raises(UserError, match="at least"):
        Pool("writer", 10)


def test_memory_is_taken_when_used_and_given_back(views: Views) -> None:
    pool = Pool("writer", 1 << 30)
    file = Path(f"/proc/self/fd/{pool._fd}")

    def taken() -> int:
        return file.stat().st_blocks * 512

    empty = taken()
    assert empty < 100_000
    many = [views.read(written(pool, picture(1, 5000))) for _ in range(8)]
    peak = taken()
    assert peak > 8 * 1_500_000
    kept = many[0]
    del many
    pool.trim()  # what was needed since the last call stays
    assert taken() == peak
    pool.trim()
    assert 1_500_000 < taken() < 1_700_000
    assert shown(kept) == 1
    del kept
    pool.trim()
    pool.trim()
    assert taken() < empty + 100_000
    assert shown(views.read(written(pool, picture(3, 5000)))) == 3
    pool.close()


def test_file_is_private_and_cannot_be_cut(pool: Pool) -> None:
    status = os.fstat(pool._fd)
    assert status.st_mode & 0o777 == 0o600
    with pytest.raises(PermissionError):
        os.ftruncate(pool._fd, 0)


# ---------------------------------------------------------------- descriptors that are wrong


def test_other_readers_slot_is_refused(pool: Pool, views: Views) -> None:
    assert cause(views, written(pool, picture(1), "other")) is LossCause.OVERWRITTEN
    written(pool, picture(1), "reader")
    assert cause(views, written(pool, picture(1), "other")) is LossCause.OVERWRITTEN
    assert pool.used == 3 * UNIT


def test_overwritten_slot_is_refused(pool: Pool, views: Views) -> None:
    old = written(pool, picture(1))
    pool.forget("reader")
    assert shown(views.read(written(pool, picture(2)))) == 2
    assert cause(views, old) is LossCause.OVERWRITTEN


def test_forgotten_reader_that_lives_on_is_refused_and_releases_nothing(pool: Pool) -> None:
    zombie = Views("reader")
    slot = written(pool, picture(1))
    look = zombie.read(slot)
    pool.forget("reader")
    pool.withdraw(written(pool, picture(2), *[f"other-{number}" for number in range(ROWS - 1)]))
    successor = written(pool, picture(3), "successor")  # in the row and the slot of the forgotten one
    assert shown(Views("successor").read(successor)) == 3
    del look
    assert pool.used == 0
    assert cause(zombie, slot) is LossCause.OVERWRITTEN


def test_closed_pool_is_gone(views: Views) -> None:
    pool = Pool("gone", 64 * UNIT)  # the pools of other tests may still be mapped
    slot = written(pool, picture(1))
    pool.close()
    assert cause(views, slot) is LossCause.WRITER_GONE
    pool.forget("reader")
    pool.trim()
    assert f"memfd:flowedge-{pool.name} " not in Path("/proc/self/maps").read_text()


def test_foreign_files_are_not_touched(pool: Pool, views: Views, tmp_path: Path) -> None:
    """The descriptor names any process and file: a pipe, a plain file, a memory file that is no pool."""
    reading, writing = os.pipe()
    plain = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    other = os.memfd_create("flowedge-x", os.MFD_ALLOW_SEALING)
    sealed = os.memfd_create("flowedge-y", os.MFD_ALLOW_SEALING)
    os.ftruncate(sealed, 1 << 24)
    fcntl.fcntl(sealed, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    elsewhere = Pool("elsewhere", 1 << 20)
    slot = written(pool, picture(1))
    for number in (reading, writing, plain, other, sealed, elsewhere._fd, 99999, -1):
        assert cause(views, slot[:8] + struct.pack("<i", number) + slot[12:]) is LossCause.WRITER_GONE
    for pid in (0, 1, 2**32 - 1):
        assert cause(views, slot[:4] + struct.pack("<I", pid) + slot[8:]) is LossCause.WRITER_GONE
    for number in (reading, writing, plain, other, sealed):
        os.close(number)
    elsewhere.close()
    assert shown(views.read(slot)) == 1


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_random_bytes_are_garbled(data: bytes) -> None:
    assert cause(Views("reader"), data) is LossCause.GARBLED


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_damaged_descriptor_shows_its_own_picture_or_none(data: st.DataObject) -> None:
    pool, views = Pool("writer", 64 * UNIT), Views("reader")
    slots = [written(pool, picture(tag), "reader", "other") for tag in range(1, 4)]
    known = data.draw(st.booleans())
    if known:
        views.read(written(pool, picture(9)))
    damaged = bytearray(slots[1])
    damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        assert shown(views.read(bytes(damaged))) == 2
    except SlotLost:
        assert shown(views.read(slots[1])) == 2
    pool.close()


def test_garbled_table_is_not_followed(pool: Pool, views: Views) -> None:
    """A writer that went mad: its table points outside of its pool."""
    slot = written(pool, picture(1))
    *_, index, _ = struct.unpack("<4sIi16sIQ", slot)
    at = 8192 + 32 * index
    for offset, size in ((1 << 40, 4096), (0, 1 << 40), ((1 << 64) - 1, 1), (0, 0)):
        pool._memory[at + 8 : at + 24] = struct.pack("<QQ", offset, size)
        assert cause(views, slot) is LossCause.GARBLED


# ---------------------------------------------------------------- processes that die

WRITER = """
import numpy as np, sys
from flowedge.plane.transports.shared_memory import Pool
from flowedge.values import Frame, Origin
from flowedge.wire.blocks import block
pool, tag = Pool("killed", 1 << 24), 0
for line in sys.stdin:
    tag += 1
    frame = Frame(Origin("north", index=tag), np.full((500, 100, 3), tag, np.uint8))
    print(pool.write(block(frame), ["reader"]).hex(), flush=True)
"""

READER = """
import sys
from flowedge.plane.transports.shared_memory import Views
views, looks = Views("reader"), []
for line in sys.stdin:
    looks.append(views.read(bytes.fromhex(line)))
    print(len(looks[-1]), flush=True)
"""

Start = Callable[[str], "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Start]:
    processes: list[subprocess.Popen[str]] = []

    def run(code: str) -> subprocess.Popen[str]:
        process = subprocess.Popen([sys.executable, "-c", code], stdin=-1, stdout=-1, text=True)
        processes.append(process)
        return process

    yield run
    for process in processes:
        process.kill()
        process.communicate()


def asked(process: subprocess.Popen[str], line: str = "") -> str:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{line}\n")
    process.stdin.flush()
    return process.stdout.readline().strip()


def kill(process: subprocess.Popen[str]) -> None:
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def mapped() -> list[str]:
    maps = Path("/proc/self/maps").read_text().splitlines()
    return [line for line in maps if "memfd:flowedge-killed" in line]


def test_killed_writer_leaves_whole_pictures_and_nothing_else(start: Start, views: Views) -> None:
    writer = start(WRITER)
    first, second, third = (bytes.fromhex(asked(writer)) for _ in range(3))
    look = views.read(first)
    kill(writer)
    assert not [name for name in os.listdir("/dev/shm") if "flowedge" in name or "killed" in name]
    assert shown(look) == 1
    assert shown(views.read(second)) == 2  # its memory is still mapped here
    assert cause(Views("reader"), third) is LossCause.WRITER_GONE
    views.forget("killed")
    assert cause(views, third) is LossCause.WRITER_GONE
    assert mapped()
    assert shown(look) == 1
    del look
    assert not mapped()


def test_next_writer_of_the_same_name_takes_the_place_of_the_killed_one(start: Start, views: Views) -> None:
    writer = start(WRITER)
    old = bytes.fromhex(asked(writer))
    assert shown(views.read(old)) == 1
    kill(writer)
    again = start(WRITER)
    assert shown(views.read(bytes.fromhex(asked(again)))) == 1
    assert len({line.split()[4] for line in mapped()}) == 1  # one inode: the old memory is let go
    assert cause(views, old) is LossCause.WRITER_GONE


def test_killed_reader_frees_its_claims_when_forgotten(start: Start) -> None:
    pool, other = Pool("writer", 16 * UNIT), Views("other")
    reader = start(READER)
    seen = written(pool, picture(1), "reader", "other")
    assert int(asked(reader, seen.hex())) == picture(1).size
    unread = written(pool, picture(2), "reader")
    kill(reader)
    assert pool.used == 2 * UNIT
    pool.forget("reader")
    assert pool.used == UNIT  # the other one has not looked yet
    assert shown(other.read(seen)) == 1
    assert pool.used == 0
    again = start(READER)
    assert int(asked(again, written(pool, picture(3), "reader").hex())) == picture(3).size
    assert cause(Views("reader"), unread) is LossCause.OVERWRITTEN
    pool.close()


def test_released_by_another_process(start: Start) -> None:
    pool = Pool("writer", 64 * UNIT)
    reader = start(READER.replace("looks.append", "looks.clear(); looks.append"))
    for tag in range(1, 20):
        asked(reader, written(pool, picture(tag)).hex())
        assert pool.used <= UNIT
    pool.close()
