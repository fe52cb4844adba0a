"""Tables of files that people write, TOML and CSV: what is wrong in them is said by the name of the field."""

from __future__ import annotations

import csv
import difflib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from flowedge.errors import ConfigError
from flowedge.graph.knobs import suggestion
from flowedge.planner.model import units
from flowedge.planner.model.profiles import Setting, setting

T = TypeVar("T")


class Table:
    """One table of a file, which says what is wrong with it by the name of the field."""

    def __init__(self, data: object, where: str, names: Sequence[str]) -> None:
        if not isinstance(data, Mapping):
            raise ConfigError(f"{where}: {data!r} is not a table of {', '.join(names)}")
        self.data, self.where = data, where
        for name in data:
            if name not in names:
                raise ConfigError(f"{self.field(name)}: there is no such field{suggestion(str(name), names)}")

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

    def whole(self, name: str, default: int | None = None) -> int:
        return int(self.get(name, _is_whole, "a whole number from 0", default))

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
        entries = self.get(name, lambda value: isinstance(value, list), f"a list of tables [[{name}]]", ())
        return [(table, f"{self.field(name)}[{position}]") for position, table in enumerate(entries)]

    def setting(self) -> Setting:
        return setting(**self.get("setting", _are_scalars, "a table of knobs and values", {}))


class File(Table):
    """The top of a file, whose fields need no prefix."""

    def field(self, name: str) -> str:
        return name


def _is_amount(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < float("inf")


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_count(value: object) -> bool:
    return _is_whole(value) and value != 0


def _are_names(value: object) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(name, str) and name for name in value)


def is_scalar(value: object) -> bool:
    return isinstance(value, (str, int, float))


def _are_scalars(value: object) -> bool:
    return isinstance(value, Mapping) and all(map(is_scalar, value.values()))


UNITS = {unit.lower(): unit for unit in (*units.TIME, *units.DATA)}
"""Units that the name of a column may end with, as in `time_ms` or `memory (MiB)`, by their lower case."""


def rows(
    text: str, columns: Sequence[str], *, needed: Sequence[str] = ()
) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of a CSV text, each with its line number and the cells that are not empty, by column.

    The first line names the columns, in any order and case. Commas, semicolons or tabs separate; blank lines
    and those that begin with # do not count. A name that ends with a unit gives it to the numbers below. One of
    `columns` that ends with a dot stands for all that begin like it. Others are left out. Raises `ConfigError`
    for a name that looks like a slip, or is there twice, and where one of `needed` is missing.

    >>> list(rows("# made up\\nSize, TIME_ms,who\\n640,12,me\\n", ("time", "size")))
    [(3, {'size': '640', 'time': '12 ms'})]
    """
    lines = text.removeprefix("\ufeff").splitlines()
    head = next((line for line in lines if line.strip() and not line.lstrip().startswith("#")), "")
    reader = csv.reader(lines, delimiter=next((mark for mark in ",;\t" if mark in head), ","))
    names: list[tuple[str, str]] | None = None
    for cells in reader:
        if not any(cell.strip() for cell in cells) or cells[0].lstrip().startswith("#"):
            continue
        line = reader.line_num
        if names is None:
            names = _columns(cells, columns, needed, line)
            continue
        if len(cells) > len(names) and any(cell.strip() for cell in cells[len(names) :]):
            raise ConfigError(f"line {line}: has {len(cells)} cells, the line of names has {len(names)}")
        values = zip(names, (cell.strip() for cell in cells), strict=False)
        yield line, {name: _with_unit(cell, unit) for (name, unit), cell in values if name and cell}
    if names is None:
        raise ConfigError(f"line 1: is missing; a line of names such as {','.join(columns[:3])} comes first")


def _columns(
    cells: Sequence[str], columns: Sequence[str], needed: Sequence[str], line: int
) -> list[tuple[str, str]]:
    """What each column is called here, and the unit in its name; nothing for one that does not count."""
    found_columns = [_column(cell.strip(), columns) for cell in cells]
    names = [name for name, _ in found_columns if name]
    for cell, (name, _) in zip(cells, found_columns, strict=True):
        near = difflib.get_close_matches(cell.strip().lower(), set(columns) - set(names), n=1, cutoff=0.8)
        if near and not name:
            raise ConfigError(f'line {line}: there is no column {cell!r}; did you mean "{near[0]}"?')
        if names.count(name) > 1:
            raise ConfigError(f"line {line}: there are two columns {name!r}; leave one out")
    for name in needed:
        if name not in names:
            raise ConfigError(f"line {line}: the column {name!r} is missing; it is needed")
    return found_columns


def _column(cell: str, columns: Sequence[str]) -> tuple[str, str]:
    for column in columns:
        if column.endswith(".") and cell.lower().startswith(column):
            return column + cell[len(column) :], ""
    match = re.fullmatch(r"(.+?)[ _(\[]+([^\W_]+)[)\]]?", cell)
    unit = UNITS.get(match[2].lower(), "") if match else ""
    name = (match[1] if match and unit else cell).lower()
    return (name, unit) if name in columns else ("", "")


def _with_unit(cell: str, unit: str) -> str:
    return f"{cell} {unit}" if unit and re.fullmatch(r"[\d.]+(?:[eE][+-]?\d+)?", cell) else cell
