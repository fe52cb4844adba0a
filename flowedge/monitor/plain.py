"""Dataclasses from the plain data that `dataclasses.asdict` and JSON made of them."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

T = TypeVar("T")


def from_plain(kind: type[T], data: Any) -> T:
    """What a dataclass was before; fields that it does not have are left out, as a newer version may have more.

    Raises `ValueError` naming the field that is missing or of another type.

    >>> @dataclasses.dataclass
    ... class Size:
    ...     width: int
    ...     unit: str | None = None
    >>> from_plain(Size, {"width": 3, "depth": 4})
    Size(width=3, unit=None)
    >>> from_plain(Size, {"width": "3"})
    Traceback (most recent call last):
    ValueError: width: '3' is no int
    """
    made: T = _made(kind, data, "")
    return made


def _made(kind: Any, data: Any, where: str) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if dataclasses.is_dataclass(kind):
        return _dataclass(kind, data, where)
    if origin in (Union, types.UnionType):
        return _any_of(arguments, data, where)
    if origin is Literal:
        return _checked(data in arguments, data, kind, where)
    if origin in (dict, Mapping):
        _checked(isinstance(data, dict), data, "mapping", where)
        return {key: _made(arguments[1], value, _within(where, key)) for key, value in data.items()}
    if origin is Sequence:
        _checked(isinstance(data, (list, tuple)), data, "list", where)
        return tuple(_made(arguments[0], value, f"{where}[{at}]") for at, value in enumerate(data))
    if kind is Path:
        return Path(_checked(isinstance(data, str), data, "path", where))
    if kind is float and type(data) is int:
        return float(data)
    return _checked(type(data) is kind, data, kind.__name__, where)


def _dataclass(kind: Any, data: Any, where: str) -> Any:
    _checked(isinstance(data, dict), data, "mapping", where)
    hints = typing.get_type_hints(kind)
    values = {}
    for field in dataclasses.fields(kind):
        name = _within(where, field.name)
        if field.name in data:
            values[field.name] = _made(hints[field.name], data[field.name], name)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ValueError(f"{name} is missing")
    return kind(**values)


def _any_of(kinds: Sequence[Any], data: Any, where: str) -> Any:
    for kind in kinds:
        try:
            return _made(kind, data, where)
        except ValueError as error:
            last = error
    raise last


def _checked(fits: bool, data: T, kind: object, where: str) -> T:
    if not fits:
        raise ValueError(f"{where or 'it'}: {data!r:.100} is no {kind}")
    return data


def _within(where: str, name: object) -> str:
    return f"{where}.{name}".lstrip(".")
