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

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from flowedge.errors import ConfigError
from flowedge.planner.files import inputs
from flowedge.planner.files.tables import Table, rows
from flowedge.planner.model import units
from flowedge.planner.model.profiles import Accuracy, OutputSize, Profiles, Service, Setting
from flowedge.values import Scalar

SERVICE = ("operator", "kind", "cores", "gpu", "time", "deviation", "batch", "memory", "work", "source")
COLUMNS = (*SERVICE, "output", "codec", "accuracy", "setting.")
_NUMBERS = ("cores", "gpu", "batch", "accuracy")


def profiles(text: str) -> Profiles:
    """The profiles in a CSV table. Raises `ConfigError` naming the line, the field, its value and the mend.

    Columns are those of [[services]] in a profile file, and `setting.NAME` for each knob. A row with `time` is
    a service; one with an `output` (and `codec`) says the bytes of a frame, one with an `accuracy` that of its
    setting; a row may be all three. Rows that say the same about an output or an accuracy count once.
    """
    services: dict[Service, Service] = {}
    outputs: dict[tuple[str, str, Setting], OutputSize] = {}
    accuracies: dict[Setting, Accuracy] = {}
    for line, cells in rows(text, COLUMNS):
        where = f"line {line}"
        if not {"time", "output", "accuracy"} & cells.keys():
            raise ConfigError(
                f"{where}: has no time, output or accuracy; name the columns {', '.join(COLUMNS)}NAME"
            )
        row = {name: _value(name, cell) for name, cell in cells.items() if not name.startswith("setting.")}
        knobs = _knobs({name: cell for name, cell in cells.items() if name not in row}, where)
        common = {"setting": knobs, "source": row.get("source", "table")}
        table = Table(row | common, where, (*COLUMNS[:-1], "setting"))
        if "time" in row:
            figures = {name: value for name, value in row.items() if name in SERVICE}
            _add_service(services, inputs.service(figures | common, where), where)
        if "output" in row:
            size, codec = table.quantity("output", units.size), table.text("codec", "raw")
            output = OutputSize(table.text("operator"), size, codec, table.setting(), common["source"])
            sent = outputs.setdefault((output.operator, codec, output.setting), output)
            if sent.bytes != size:
                values = f"an output of {sent.bytes:.12g} B", f"{size:.12g} B"
                raise _contradiction(where, output.operator, *values)
        if "accuracy" in row:
            accuracy = Accuracy(table.share("accuracy"), table.setting(), common["source"])
            best = accuracies.setdefault(accuracy.setting, accuracy)
            if best.value != accuracy.value:
                values = f"an accuracy of {best.value:.12g}", f"{accuracy.value:.12g}"
                raise _contradiction(where, "this setting", *values)
    return Profiles(tuple(services.values()), tuple(outputs.values()), tuple(accuracies.values()))


def _add_service(services: dict[Service, Service], service: Service, where: str) -> None:
    """Refuses two times for the same: a column of knobs may have been left out for its name."""
    alike = replace(service, seconds=1.0, deviation=0.0, source="")
    if alike in services:
        values = f"a time of {services[alike].seconds:.12g} s", f"{service.seconds:.12g} s"
        raise _contradiction(where, service.operator, *values)
    services[alike] = service


def _contradiction(where: str, what: str, former: str, value: str) -> ConfigError:
    return ConfigError(
        f"{where}: {what} has {former} for these columns already, here {value}; tell rows apart by a knob, "
        f"whose column is called setting.NAME"
    )


def _knobs(cells: Mapping[str, str], where: str) -> dict[str, Scalar]:
    """The knobs of a row, by name."""
    knobs = {name.removeprefix("setting."): _knob(cell) for name, cell in cells.items()}
    for name, value in knobs.items():
        if not name:
            raise ConfigError(f"{where}: the column 'setting.' names no knob; call it setting.NAME")
        if value != value:
            cell = cells[f"setting.{name}"]
            raise ConfigError(f"{where}.setting.{name}: {cell!r} equals no value; leave the cell empty")
    return knobs


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
