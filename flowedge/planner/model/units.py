"""Quantities as people write them: "30 Mbit/s", "4 ms", "2 GiB", "12 W"."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from flowedge.errors import ConfigError

TIME = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}
_BANDWIDTH = {"bit/s": 1.0, "kbit/s": 1e3, "Mbit/s": 1e6, "Gbit/s": 1e9}
DATA = {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_POWER = {"mW": 1e-3, "W": 1.0, "kW": 1e3}


def seconds(value: object, field: str) -> float:
    """A time in seconds; a bare number is refused, since nobody can tell what it counts.

    >>> seconds("4 ms", "links[0].delay")
    0.004
    """
    return _quantity(value, field, TIME, "4 ms")


def bits_per_second(value: object, field: str) -> float:
    """A bandwidth in bit/s.

    >>> bits_per_second("30 Mbit/s", "links[0].bandwidth")
    30000000.0
    """
    return _quantity(value, field, _BANDWIDTH, "30 Mbit/s")


def size(value: object, field: str) -> float:
    """An amount of data or memory in bytes.

    >>> size("2 GiB", "nodes[0].memory")
    2147483648.0
    """
    return _quantity(value, field, DATA, "2 GiB")


def watts(value: object, field: str) -> float:
    """A power in watts.

    >>> watts("12.5 W", "nodes[0].idle")
    12.5
    """
    return _quantity(value, field, _POWER, "12 W")


def _quantity(value: object, field: str, units: Mapping[str, float], example: str) -> float:
    pattern = r"(\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)\s*([^\W\d]\S*)"
    match = re.fullmatch(pattern, value) if isinstance(value, str) else None
    if match is None or match[2] not in units or math.isinf(float(match[1])):
        raise ConfigError(
            f'{field}: {value!r} is not a quantity like "{example}"; the units are {", ".join(units)}'
        )
    return float(match[1]) * units[match[2]]
