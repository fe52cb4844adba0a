from __future__ import annotations

from contextlib import suppress
from dataclasses import fields

import msgpack
import numpy as np
import pytest

from flowedge.state.store import StoreError
from flowedge.vision.tracking.identities import Bindings, Identities, Objects, nobody
from flowedge.vision.tracking.packing import pack, unpack


def some() -> Identities:
    objects = Objects(
        ids=np.array([3, 8]),
        classes=np.array([0, 2]),
        boxes=np.array([[0.5, 1, 2, 3], [4, 5, 6, 7]]),
        velocity=np.array([[1.5, -2], [0, 0]]),
        boxed=np.array([[1.25, 1], [2.5, 3]]),
        seen=np.array([1.25, 3.0]),
        whole=np.array([[True, True], [False, True]]),
    )
    numbers = np.array([0, 1, 5])
    bindings = Bindings(numbers, numbers << 33, np.array([3, 3, 8]), np.array([0, 8, 0]), np.arange(3.0))
    layout = np.array([[0, 0, 0, 60, 50]])
    return Identities((2, 70, 2.8, 1e9), (60, 50), 2.75, 9, layout, objects, bindings)


@pytest.mark.parametrize("known", [nobody(), some()])
def test_what_is_unpacked_is_what_was_packed(known: Identities) -> None:
    again = unpack(pack(known))
    for name in ("newest", "size", "clock", "following"):
        assert getattr(again, name) == getattr(known, name)
    assert np.array_equal(again.layout, known.layout)
    for name in ("objects", "bindings"):
        for column in fields(getattr(known, name)):
            one, other = getattr(getattr(known, name), column.name), getattr(getattr(again, name), column.name)
            assert one.dtype == other.dtype
            assert np.array_equal(one, other)


def test_every_damaged_value_is_refused() -> None:
    """Cut short anywhere; other bytes are refused, or are identities that can be packed again."""
    data = pack(some())
    for length in range(len(data)):
        with pytest.raises(StoreError, match="cannot be read"):
            unpack(data[:length])
    rng = np.random.default_rng(3)
    for _ in range(300):
        damaged = bytearray(data)
        damaged[rng.integers(len(data))] = rng.integers(256)
        with suppress(StoreError):
            pack(unpack(bytes(damaged)))


@pytest.mark.parametrize("data", [b"", b"\xc0", b"hello", msgpack.packb([1, 2]), msgpack.packb({"version": 1})])
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(StoreError, match="the identities kept there cannot be read"):
        unpack(data)


def test_another_version_is_named() -> None:
    content = msgpack.unpackb(pack(some()))
    with pytest.raises(StoreError, match="version 1 is not 2"):
        unpack(msgpack.packb(content | {"version": 1}))


def test_bindings_to_nobody_are_refused() -> None:
    content = msgpack.unpackb(pack(some()))
    content["bindings"]["ids"] = np.array([3, 4, 8]).tobytes()
    with pytest.raises(StoreError, match="contradict each other"):
        unpack(msgpack.packb(content))
