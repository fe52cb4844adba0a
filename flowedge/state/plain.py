"""Plain data read back: what `Step.restore` was given, checked before any of it is used.

>>> table({"ids": np.array([7, 9])}, ids=(np.int64, ()))["ids"].tolist()
[7, 9]
>>> item({"next": 3}, "next", int)
3
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from reprlib import repr as shown
from typing import Any, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from flowedge.errors import StateError
from flowedge.values import Origin

T = TypeVar("T")

IDENTITIES_PER_EPOCH = 1_000_000
"""How far apart the first identities of epochs lie after a loss: readable, and more than an epoch uses."""


def item(state: Any, name: str, kind: type[T]) -> T:
    """The member `name` of a mapping, of this type; an int will do for a float. Raises `StateError`."""
    if not isinstance(state, Mapping) or name not in state:
        raise StateError(f"a mapping with {name!r} is needed, {shown(state)} was given")
    value = state[name]
    if kind is float and isinstance(value, int):
        value = float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise StateError(f"{name}: a value of type {kind.__name__} is needed, {shown(value)} was given")
    return value


def integers(state: Any, name: str, count: int | None) -> tuple[int, ...]:
    """The member `name`, a list of `count` integers (None: of any number). Raises `StateError`."""
    values = item(state, name, list)
    if count not in (None, len(values)) or not all(type(value) is int for value in values):
        wanted = "a list of integers" if count is None else f"a list of {count} integers"
        raise StateError(f"{name}: {wanted} is needed, {shown(values)} was given")
    return tuple(values)


def table(state: Any, /, **columns: tuple[DTypeLike, tuple[int, ...]]) -> dict[str, NDArray[Any]]:
    """Copies of the columns of a table, which have a row each for the same things.

    `columns` says the dtype of each and the shape of one of its rows. Raises `StateError` for other arrays, for
    columns of different lengths and for numbers that are not finite.
    """
    arrays: dict[str, NDArray[Any]] = {}
    for name, (dtype, row) in columns.items():
        array = item(state, name, np.ndarray)
        if array.dtype != np.dtype(dtype) or array.ndim != 1 + len(row) or array.shape[1:] != row:
            wanted = f"{np.dtype(dtype)} with rows of shape {row}"
            raise StateError(f"{name}: {wanted} is needed, {array.dtype} {array.shape} was given")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise StateError(f"{name}: a number is not finite")
        arrays[name] = array.copy()
    if len({len(array) for array in arrays.values()}) > 1:
        raise StateError(f"the columns {', '.join(arrays)} differ in length")
    return arrays


def copied(table: Any) -> dict[str, NDArray[Any]]:
    """The columns of a dataclass of arrays, by name, as copies."""
    return {field.name: getattr(table, field.name).copy() for field in fields(table)}


def from_origin(origin: Origin | None) -> dict[str, Any] | None:
    """An origin as plain data.

    >>> to_origin(from_origin(Origin("north", index=7))).index
    7
    """
    return None if origin is None else asdict(origin)


def to_origin(state: Any) -> Origin | None:
    """The reverse of `from_origin`. Raises `StateError`."""
    if state is None:
        return None
    kinds = {"str": str, "int": int, "float": float}
    return Origin(**{field.name: item(state, field.name, kinds[str(field.type)]) for field in fields(Origin)})


def first_identity(given: int, epoch: int) -> int:
    """The first identity to give out in `epoch` after a loss, where all below `given` are known to be taken.

    >>> first_identity(58, epoch=2), first_identity(1, epoch=0)
    (2000001, 1)
    """
    return max(given, epoch * IDENTITIES_PER_EPOCH + 1)
