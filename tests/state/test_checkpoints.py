"""Checkpoints: state as bytes and back, the newest one kept, everything else refused."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from flowedge import StateError
from flowedge.state.checkpoints import Checkpoint, Checkpoints, decode, encode
from flowedge.state.store import MemoryStore, RedisStore, Store, StoreError, store_at
from tests.redis_server import RedisServer, free_port, redis_server

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats()
    | st.text(max_size=20)
    | st.binary(max_size=40)
)
NUMBERS = arrays.arrays(
    arrays.boolean_dtypes()
    | arrays.integer_dtypes(endianness="?")
    | arrays.unsigned_integer_dtypes(endianness="?")
    | arrays.floating_dtypes(endianness="?", sizes=(16, 32, 64)),
    arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
)
PLAIN = st.recursive(
    SCALARS | NUMBERS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


def checkpoint(state: Any = None, **changes: Any) -> Checkpoint:
    fields = {"graph": "crossing", "operator": "Track", "camera": "north", "epoch": 3, "session": 0, "index": 7}
    return Checkpoint(**{**fields, "definition": "abc", "state": state, **changes})


def same(one: Any, other: Any) -> bool:
    """Whether two states are equal to the bit, type by type."""
    if isinstance(one, np.ndarray):
        known = isinstance(other, np.ndarray) and (one.dtype.name, one.shape) == (other.dtype.name, other.shape)
        return known and one.astype(other.dtype).tobytes() == other.tobytes()
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other or (one != one and other != other)


@settings(deadline=None)
@given(PLAIN)
def test_a_state_comes_back_as_it_was(state: Any) -> None:
    after = decode(encode(checkpoint(state)))
    assert same(after.state, state)
    assert (after.moment, after.definition) == ((3, 0, 7), "abc")
    assert (after.graph, after.operator, after.camera) == ("crossing", "Track", "north")


def test_arrays_that_are_parts_of_others_are_written_as_they_look() -> None:
    whole = np.arange(60, dtype=np.float32).reshape(6, 10)
    assert decode(encode(checkpoint(whole[::2, ::-3]))).state.tolist() == whole[::2, ::-3].tolist()


def test_a_tuple_is_a_list() -> None:
    assert decode(encode(checkpoint({"size": (640, 480)}))).state == {"size": [640, 480]}


def nested(levels: int) -> Any:
    return [nested(levels - 1)] if levels else None


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (
            {"tracks": [{"seen": {1, 2}}]},
            r"state: \['tracks'\]\[0\]\['seen'\]: {1, 2} is of type set",
        ),
        ({"count": np.int64(3)}, r"\['count'\]: .*3.* is of type int64: a state is made of None, bool, int"),
        ({"names": np.array(["ada"])}, r"\['names'\]: an array of <U3 with 1 dimensions is not one of numbers"),
        ({7: "seven"}, "the key 7 of a mapping is no str"),
        ({"many": list(range(20_000))}, r"\['many'\]: 20000 items are more than 16384: use an array"),
        ({"big": 1 << 64}, "the state of Track for north does not fit msgpack"),
        ({"long": "x" * 2_000_000}, "the state of Track for north needs a header of 2000"),
        (
            {"film": np.zeros((20, 1080, 1920), np.uint8)},
            "the state of Track for north has .* bytes, above",
        ),
        (nested(40), "more than 32 levels of lists and mappings"),
    ],
)
def test_what_cannot_leave_the_process_is_named_with_its_place(state: Any, reason: str) -> None:
    with pytest.raises(StateError, match=reason):
        encode(checkpoint(state))


@pytest.mark.parametrize("name", ["graph", "operator", "camera"])
def test_a_name_that_would_lead_to_another_key_is_refused(name: str) -> None:
    with pytest.raises(StateError, match=f"{name}: 'a/b' is not a name"):
        encode(checkpoint(**{name: "a/b"}))


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_whatever_the_bytes_are_nothing_but_a_state_error_comes(data: st.DataObject) -> None:
    good = bytearray(
        encode(checkpoint({"ids": np.arange(9), "boxes": np.zeros((9, 4)), "last": [1, None, "x"]}))
    )
    if data.draw(st.booleans()):
        good = good[: data.draw(st.integers(0, len(good)))]
    for _ in range(data.draw(st.integers(0, 4))):
        if good:
            good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(StateError):
        decode(bytes(good))


def block(header: Any, buffers: bytes = b"", magic: bytes = b"FECP", version: int = 1) -> bytes:
    packed = msgpack.packb(header)
    first = -(-(24 + len(packed)) // 64) * 64
    size = first + len(buffers)
    head = (
        magic + version.to_bytes(4, "little") + size.to_bytes(8, "little") + len(packed).to_bytes(8, "little")
    )
    return (head + packed).ljust(first, b"\0") + buffers


NUMBERED = {"epoch": 1, "session": 0, "index": 2}
HEADER = {"graph": "g", "operator": "o", "camera": "c", **NUMBERED, "definition": "", "state": {}}


def array(*description: Any) -> dict[str, Any]:
    return {**HEADER, "state": msgpack.ExtType(1, msgpack.packb(description))}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "0 bytes are too few"),
        (b"\x80\x04pickled, as we never do" * 9, "not a block: it begins with"),
        (block(HEADER, magic=b"FEWB"), "not a block: it begins with b'FEWB' in place of b'FECP'"),
        (block(HEADER, version=9), "format version 9, and this FlowEdge reads version 1 only"),
        (block(HEADER)[:50], "the block is cut off: 50 of"),
        (block([1, 2]), "a map of graph, .* is needed"),
        (block({**HEADER, "epoch": "2"}), "epoch: an integer from"),
        (block({**HEADER, "camera": "../south"}), "camera: '../south' is not a name"),
        (block({name: HEADER[name] for name in HEADER if name != "state"}), "state is missing"),
        (block({**HEADER, "state": {7: 8}}), "the header is not the msgpack of this format"),
        (block({**HEADER, "state": msgpack.ExtType(2, b"")}), "there is no extension 2"),
        (block({**HEADER, "state": msgpack.ExtType(1, b"x" * 500)}), "the header is not the msgpack"),
        (block({**HEADER, "state": msgpack.ExtType(1, b"\xc1")}), "the header is not the msgpack"),
        (block(array("object", [1], 0, 8), bytes(8)), "of an array is needed"),
        (block(array("float64", [1 << 29, 1 << 29], 0, 1 << 61), bytes(8)), "do not lie between"),
        (block(array("float64", [2], 0, 8), bytes(8)), "does not make a length"),
        (block(array("uint8", [-1, -8], 0, 8), bytes(8)), "a shape of 2 dimensions is needed"),
    ],
)
def test_garbage_is_refused_with_a_reason(data: bytes, reason: str) -> None:
    with pytest.raises(StateError, match=reason):
        decode(data)


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server() as running:
        yield running


@pytest.fixture(params=["memory", "redis"])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    if request.param == "memory":
        made: Store = MemoryStore()
    else:
        made = store_at(request.getfixturevalue("server").address)
    made.open()
    if isinstance(made, RedisStore):
        made._client.flushdb()
    yield made
    made.close()


def kept(checkpoints: Checkpoints, operator: str = "Track", camera: str = "north") -> Any:
    found = checkpoints.load("crossing", operator, camera, "abc")
    return found and found.state


def test_what_is_saved_can_be_loaded_and_forgotten(store: Store) -> None:
    checkpoints = Checkpoints(store)
    assert kept(checkpoints) is None
    for operator in ("Track", "Track2"):
        for camera in ("north", "north2"):
            assert checkpoints.save(checkpoint(f"{operator} {camera}", operator=operator, camera=camera))
    checkpoints.save(checkpoint("elsewhere", graph="other"))
    checkpoints.forget("crossing", "north")
    assert [kept(checkpoints, name, "north") for name in ("Track", "Track2")] == [None, None]
    assert [kept(checkpoints, name, "north2") for name in ("Track", "Track2")] == [
        "Track north2",
        "Track2 north2",
    ]
    assert getattr(checkpoints.load("other", "Track", "north", "abc"), "state", None) == "elsewhere"


def test_no_older_one_replaces_a_newer(store: Store) -> None:
    checkpoints = Checkpoints(store)
    moments = [(3, 1, 7), (3, 1, 6), (2, 9, 99), (3, 0, 8), (3, 1, 7), (3, 1, 8), (3, 2, 0), (4, 0, 0)]
    saved = [
        checkpoints.save(checkpoint(at, epoch=epoch, session=session, index=index))
        for at, (epoch, session, index) in enumerate(moments)
    ]
    assert saved == [True, False, False, False, True, True, True, True]
    assert kept(checkpoints) == 7


def test_of_writers_in_a_race_the_newest_stays(store: Store) -> None:
    def write(first: int) -> None:
        for index in range(first, 200, 4):
            Checkpoints(store).save(checkpoint(index, index=index))

    threads = [threading.Thread(target=write, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert kept(Checkpoints(store)) == 199


def test_another_version_of_the_operator_is_refused_in_one_sentence() -> None:
    checkpoints = Checkpoints(MemoryStore())
    checkpoints.save(checkpoint(1))
    with pytest.raises(
        StateError,
        match=r"^the checkpoint of Track for north is of another version of Track, whose code or fields "
        r"differ: it begins anew$",
    ):
        checkpoints.load("crossing", "Track", "north", "of other code")


def test_garbage_in_the_store_is_refused_and_then_replaced() -> None:
    store = MemoryStore()
    checkpoints = Checkpoints(store)
    store.swap("flowedge/checkpoint/run/crossing/north/Track", None, b"garbage" * 9, 60)
    with pytest.raises(StateError, match="the checkpoint of Track for north cannot be read: not a block"):
        kept(checkpoints)
    assert checkpoints.save(checkpoint("good"))
    assert kept(checkpoints) == "good"


def test_runs_do_not_see_each_other() -> None:
    store = MemoryStore()
    Checkpoints(store, "monday").save(checkpoint("monday's", epoch=50))
    tuesday = Checkpoints(store, "tuesday")
    assert kept(tuesday) is None
    assert tuesday.save(checkpoint("tuesday's", epoch=1))
    with pytest.raises(StateError, match="the run 'a/b' is not a name"):
        Checkpoints(store, "a/b")


def test_a_store_that_is_gone_is_said() -> None:
    port = free_port()
    with redis_server(port=port) as running:
        store = store_at(running.address)
        store.open()
        running.stop()
        checkpoints = Checkpoints(store)
        for call in (
            lambda: checkpoints.save(checkpoint()),
            lambda: kept(checkpoints),
            lambda: checkpoints.forget("crossing", "north"),
        ):
            with pytest.raises(StoreError, match="gives no answer"):
                call()
        store.close()
