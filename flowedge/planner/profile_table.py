"""Profiles as a CSV table, a row for each way to serve an operator: for figures from somewhere else.

>>> known = profiles('''
... operator, kind, cores, time_ms, setting.size, accuracy, output_kB, source
... Detect,   orin, 1,     12,      416,          0.31,     2,         vendor
... Detect,   orin, 1,     20,      640,          0.38,     2,         vendor
... video,    ,     ,      ,        ,             ,         60,        vendor
... ''')
>>> [(each.seconds, each.setting) for each in known.services]
[(0.012, (('size', 416),)), (0.02, (('size', 640),))]
>>> [each.bytes for each in known.outputs], [each.value for each in known.accuracies]
([2000.0, 2000.0, 60000.0], [0.31, 0.38])
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from flowedge.errors import ConfigError
from flowedge.planner import inputs, units
from flowedge.planner.profiles import Accuracy, Output, Profiles, Service
from flowedge.planner.tables import Table, rows
from flowedge.values import Scalar

SERVICE = ("operator", "kind", "cores", "gpu", "time", "deviation", "batch", "memory", "source")
COLUMNS = (*SERVICE, "output", "codec", "accuracy", "setting.")
_NUMBERS = ("cores", "gpu", "batch", "accuracy")


def profiles(text: str) -> Profiles:
    """The profiles in a CSV table. Raises `ConfigError` naming the line, the field, its value and the mend.

    Columns are those of [[services]] in a profile file, and `setting.NAME` for each knob. A row with `time` is
    a service; one with an `output` (and `codec`) says the bytes of a frame, one with an `accuracy` that of its
    setting; a row may be all three.
    """
    services: list[Service] = []
    outputs: dict[Output, None] = {}
    accuracies: dict[Accuracy, None] = {}
    for line, cells in rows(text, COLUMNS):
        where = f"line {line}"
        if not {"time", "output", "accuracy"} & cells.keys():
            raise ConfigError(
                f"{where}: has no time, output or accuracy; name the columns {', '.join(COLUMNS)}NAME"
            )
        row = {name: _value(name, cell) for name, cell in cells.items() if not name.startswith("setting.")}
        knobs = {name.removeprefix("setting."): _knob(cell) for name, cell in cells.items() if name not in row}
        common = {"setting": knobs, "source": row.get("source", "table")}
        table = Table(row | common, where, (*COLUMNS[:-1], "setting"))
        if "time" in row:
            given = {name: value for name, value in row.items() if name in SERVICE}
            services.append(inputs.service(given | common, where))
            _check_alike(services, where)
        if "output" in row:
            size, codec = table.quantity("output", units.size), table.text("codec", "raw")
            outputs[Output(table.text("operator"), size, codec, table.setting(), common["source"])] = None
        if "accuracy" in row:
            accuracies[Accuracy(table.share("accuracy"), table.setting(), common["source"])] = None
    return Profiles(tuple(services), tuple(outputs), tuple(accuracies))


def _check_alike(services: Sequence[Service], where: str) -> None:
    """Refuses two times for the same: a column of knobs may have been left out for its name."""
    last = services[-1]
    for other in services[:-1]:
        if replace(other, seconds=last.seconds, deviation=last.deviation, source=last.source) == last:
            raise ConfigError(
                f"{where}: {last.operator} has a time for these columns already; tell rows apart by a knob, "
                f"whose column is called setting.NAME"
            )


def _value(name: str, cell: str) -> Any:
    """A cell as TOML would have it."""
    value = _knob(cell) if name in _NUMBERS else cell
    return int(value) if name == "batch" and isinstance(value, float) and value.is_integer() else value


def _knob(cell: str) -> Scalar:
    """A number, true or false where it looks like one, else a text.

    >>> _knob("640"), _knob("0.5"), _knob("TRUE"), _knob("yolo11n")
    (640, 0.5, True, 'yolo11n')
    """
    words: Mapping[str, Scalar] = {"true": True, "false": False}
    if cell.lower() in words:
        return words[cell.lower()]
    for kind in (int, float):
        try:
            return kind(cell)
        except ValueError:
            continue
    return cell
