"""Identities as bytes, for a store that replicas share: msgpack, each column as its raw little-endian bytes."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, TypeVar

import msgpack  # type: ignore[import-untyped]
import numpy as np
from numpy.typing import NDArray

from flowedge.state.store import StoreError
from flowedge.vision.tracking.identities import Bindings, Identities, Objects, nobody

VERSION = 2

_Table = TypeVar("_Table", Objects, Bindings)
_EMPTY = nobody()


def pack(identities: Identities) -> bytes:
    """The identities as bytes.

    >>> unpack(pack(nobody())).following
    1
    """
    content = {
        "version": VERSION,
        "newest": identities.newest,
        "size": identities.size,
        "clock": identities.clock,
        "following": identities.following,
        "layout": _bytes(identities.layout),
        "objects": _columns(identities.objects),
        "bindings": _columns(identities.bindings),
    }
    return bytes(msgpack.packb(content))


def unpack(data: bytes) -> Identities:
    """What `pack` was given. Raises `StoreError` where the bytes are anything else."""
    try:
        content = msgpack.unpackb(data)
        if content["version"] != VERSION:
            raise ValueError(f"version {content['version']} is not {VERSION}, the one that is known here")
        session, index, media, time = content["newest"]
        width, height = content["size"]
        identities = Identities(
            (int(session), int(index), float(media), float(time)),
            (int(width), int(height)),
            float(content["clock"]),
            int(content["following"]),
            _array(content["layout"], _EMPTY.layout),
            _table(content["objects"], _EMPTY.objects),
            _table(content["bindings"], _EMPTY.bindings),
        )
        _check(identities)
    except (ValueError, TypeError, KeyError, AttributeError, msgpack.UnpackException) as error:
        raise StoreError(f"the identities kept there cannot be read: {error}") from error
    return identities


def _check(identities: Identities) -> None:
    objects = identities.objects
    if (np.diff(objects.ids) <= 0).any() or not np.isin(identities.bindings.ids, objects.ids).all():
        raise ValueError("the identities contradict each other")
    if not all(np.isfinite(column).all() for column in (objects.boxes, objects.velocity, objects.boxed)):
        raise ValueError("a number is not finite")


def _columns(table: Objects | Bindings) -> dict[str, bytes]:
    return {field.name: _bytes(getattr(table, field.name)) for field in fields(table)}


def _table(columns: dict[str, bytes], like: _Table) -> _Table:
    arrays = {field.name: _array(columns[field.name], getattr(like, field.name)) for field in fields(like)}
    if len({len(array) for array in arrays.values()}) > 1:
        raise ValueError("columns differ in length")
    return type(like)(**arrays)


def _bytes(array: NDArray[Any]) -> bytes:
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def _array(data: bytes, like: NDArray[Any]) -> NDArray[Any]:
    raw = np.frombuffer(data, like.dtype.newbyteorder("<")).reshape(-1, *like.shape[1:])
    return raw.astype(like.dtype)
