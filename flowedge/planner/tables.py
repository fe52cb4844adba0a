"""Tables of files that people write, such as TOML: what is wrong in them is said by the name of the field."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from flowedge.errors import ConfigError
from flowedge.knobs import suggestion
from flowedge.planner.profiles import Setting, setting

T = TypeVar("T")


class Table:
    """One table of a file, which says what is wrong with it by the name of the field."""

    def __init__(self, data: object, where: str, known: Sequence[str]) -> None:
        if not isinstance(data, Mapping):
            raise ConfigError(f"{where}: {data!r} is not a table of {', '.join(known)}")
        self.data, self.where = data, where
        for name in data:
            if name not in known:
                raise ConfigError(f"{self.field(name)}: there is no such field{suggestion(str(name), known)}")

    def field(self, name: str) -> str:
        return f"{self.where}.{name}"

    def get(self, name: str, holds: Callable[[Any], bool], wanted: str, default: T | None = None) -> Any:
        """The value of a field; `default` where it is left out, unless that is None."""
        if name not in self.data:
            if default is None:
                raise ConfigError(f"{self.field(name)}: is missing; {wanted} is needed")
            return default
        value = self.data[name]
        if not holds(value):
            raise ConfigError(f"{self.field(name)}: {value!r} is not {wanted}")
        return value

    def text(self, name: str, default: str | None = None) -> str:
        return str(self.get(name, lambda value: isinstance(value, str) and value != "", "a text", default))

    def names(self, name: str, default: tuple[str, ...] | None = None) -> tuple[str, ...]:
        return tuple(self.get(name, _are_names, 'a list of names like ["edge", "cloud"]', default))

    def number(self, name: str, default: float | None = None) -> float:
        return float(self.get(name, _is_amount, "a number from 0", default))

    def count(self, name: str, default: int | None = None) -> int:
        return int(self.get(name, _is_count, "a whole number from 1", default))

    def share(self, name: str, default: float | None = None) -> float:
        wanted = "a share from 0 to 1"
        return float(self.get(name, lambda value: _is_amount(value) and value <= 1, wanted, default))

    def switch(self, name: str) -> bool:
        return bool(self.get(name, lambda value: isinstance(value, bool), "true or false", False))

    def quantity(self, name: str, unit: Callable[[object, str], float], default: float | None = None) -> float:
        if name not in self.data and default is not None:
            return default
        return unit(self.get(name, lambda _: True, "a quantity with its unit"), self.field(name))

    def tables(self, name: str) -> list[tuple[object, str]]:
        """The tables of an array, each with its name for messages; none where the array is left out."""
        found = self.get(name, lambda value: isinstance(value, list), f"a list of tables [[{name}]]", ())
        return [(table, f"{self.field(name)}[{position}]") for position, table in enumerate(found)]

    def setting(self) -> Setting:
        return setting(**self.get("setting", _are_scalars, "a table of knobs and values", {}))


class File(Table):
    """The top of a file, whose fields need no prefix."""

    def field(self, name: str) -> str:
        return name


def _is_amount(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < float("inf")


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _are_names(value: object) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(name, str) and name for name in value)


def is_scalar(value: object) -> bool:
    return isinstance(value, (str, int, float))


def _are_scalars(value: object) -> bool:
    return isinstance(value, Mapping) and all(map(is_scalar, value.values()))
