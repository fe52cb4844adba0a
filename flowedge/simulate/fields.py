"""Readers of fields in scenario files: rates, ranges, traces."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from flowedge.errors import ConfigError
from flowedge.graph.knobs import suggestion
from flowedge.planner.files.tables import Table, rows
from flowedge.planner.model import units
from flowedge.simulate.scenario import Range, Rate, TraceRow

Unit: TypeAlias = Callable[[object, str], float]
"""Reads a quantity; the second argument is the name of its field."""


def trace(text: str, applications: tuple[str, ...]) -> tuple[TraceRow, ...]:
    """The rows of a trace. Raises `ConfigError` naming the line, the column, the value and the mend.

    >>> trace("time,application,rate,duration\\n0.5,people,,\\n2,people,25,60\\n", ("people",))[1].duration
    60.0
    """
    only = applications[0] if len(applications) == 1 else None
    trace_rows = []
    for line, cells in rows(text, _TRACE, needed=("time",) if only else ("time", "application")):
        where = f"line {line}"
        if "time" not in cells:
            raise ConfigError(f"{where}: time: is missing; seconds since the beginning are needed")
        application = cells.get("application", only or "")
        known(application, applications, f"{where}: application")
        if ("rate" in cells) != ("duration" in cells):
            raise ConfigError(f"{where}: rate and duration (of a stream) go together")
        trace_rows.append(
            TraceRow(
                _seconds(cells["time"], f"{where}: time"),
                application,
                _drawn(cells, "deadline", where, _seconds),
                _drawn(cells, "bytes", where, _bytes),
                _drawn(cells, "accuracy", where, _share),
                _amount(cells.get("rate", "0"), f"{where}: rate"),
                _seconds(cells.get("duration", "0"), f"{where}: duration"),
            )
        )
    if not trace_rows:
        raise ConfigError("line 2: is missing; a trace needs at least one row")
    return tuple(trace_rows)


def _amount(cell: str, field: str, unit: Unit | None = None) -> float:
    """A number from 0, or a quantity."""
    try:
        value = float(cell)
    except ValueError:
        if unit is not None:
            return unit(cell, field)
        value = math.nan
    if not 0 <= value < math.inf:
        raise ConfigError(f"{field}: {cell!r} is not a number from 0")
    return value


def _share(cell: str, field: str) -> float:
    value = _amount(cell, field)
    if value > 1:
        raise ConfigError(f"{field}: {cell!r} is not a share from 0 to 1")
    return value


def _seconds(cell: str, field: str) -> float:
    return _amount(cell, field, units.seconds)


def _bytes(cell: str, field: str) -> float:
    return _amount(cell, field, units.size)


_TRACE = ("time", "application", "deadline", "bytes", "accuracy", "rate", "duration")


def _drawn(cells: Mapping[str, str], name: str, where: str, read: Callable[[str, str], float]) -> float | None:
    """What the application says where a cell is empty."""
    return None if name not in cells else read(cells[name], f"{where}: {name}")


def per_second(value: object, field: str) -> float:
    """A rate in 1/s.

    >>> per_second("90/min", "sources[0].rate")
    1.5
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*/\s*(s|min|h)", value) if isinstance(value, str) else None
    if match is None:
        raise ConfigError(f'{field}: {value!r} is not a rate like "60/min"; the units are /s, /min, /h')
    return float(match[1]) / {"s": 1, "min": 60, "h": 3600}[match[2]]


def factor(value: object, field: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
        raise ConfigError(f"{field}: {value!r} is not a number from 0")
    return float(value)


def share(value: object, field: str) -> float:
    amount = factor(value, field)
    if amount > 1:
        raise ConfigError(f"{field}: {value!r} is not a share from 0 to 1")
    return amount


def course(table: Table, name: str, unit: Unit, default: Rate | None = None) -> Rate:
    """A rate over time: one value, or a table of mean or steps, amplitude, period and phase."""
    if name not in table.data and default is not None:
        return default
    given, field = table.get(name, lambda _: True, "a rate"), table.field(name)
    if not isinstance(given, Mapping):
        return Rate(((0.0, unit(given, field)),))
    course = Table(given, field, ("mean", "steps", "amplitude", "period", "phase"))
    if ("mean" in given) == ("steps" in given):
        raise ConfigError(f"{field}: needs either mean or steps")
    if "mean" in given:
        steps: tuple[tuple[float, float], ...] = ((0.0, unit(given["mean"], f"{field}.mean")),)
    else:
        pairs = course.get("steps", _are_pairs, 'a list of pairs like ["300 s", "100/min"]')
        steps = tuple(
            (units.seconds(start, f"{field}.steps"), unit(value, f"{field}.steps")) for start, value in pairs
        )
    return Rate(
        steps,
        course.number("amplitude", 0.0),
        course.quantity("period", units.seconds, 86_400.0),
        course.quantity("phase", units.seconds, 0.0),
    )


def spread(table: Table, name: str, unit: Unit, default: float | None = None) -> Range:
    """One value, or a pair of the least and the greatest."""
    if name not in table.data and default is not None:
        return Range(default, default)
    entry = table.get(name, lambda _: True, "a value or a pair")
    low, high = entry if isinstance(entry, list) and len(entry) == 2 else (entry, entry)
    bounds = Range(unit(low, table.field(name)), unit(high, table.field(name)))
    if bounds.low > bounds.high:
        raise ConfigError(f"{table.field(name)}: {entry!r} is not a pair of the least and the greatest")
    return bounds


def are_shares(value: object) -> bool:
    return (
        isinstance(value, Mapping)
        and bool(value)
        and all(isinstance(share, (int, float)) and share >= 0 for share in value.values())
        and sum(value.values()) > 0
    )


def _are_pairs(value: object) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(pair, list) and len(pair) == 2 for pair in value)
    )


def known(name: str, names: tuple[str, ...], field: str) -> None:
    if name not in names:
        raise ConfigError(f"{field}: there is no {name!r}{suggestion(name, names)}")


def all_different(names: Sequence[str], field: str) -> None:
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ConfigError(f"{field}: two are named {twice[0]!r}; every name must be another one")


def one_of(value: str, field: str, values: tuple[str, ...]) -> None:
    if value not in values:
        raise ConfigError(f"{field}: {value!r} is none of {', '.join(values)}")
