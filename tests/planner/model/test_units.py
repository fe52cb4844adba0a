"""Quantities as people write them."""

from __future__ import annotations

import re

import pytest

from flowedge.errors import ConfigError
from flowedge.planner.model.units import bits_per_second, seconds, size, watts


def test_every_unit_of_a_quantity() -> None:
    assert [seconds(text, "t") for text in ("3 us", "4ms", "0.5 s", "2 min", "1 h")] == [
        pytest.approx(3e-6),
        pytest.approx(4e-3),
        0.5,
        120.0,
        3600.0,
    ]
    assert [bits_per_second(f"2 {unit}", "b") for unit in ("bit/s", "kbit/s", "Mbit/s", "Gbit/s")] == [
        2.0,
        2e3,
        2e6,
        2e9,
    ]
    assert [size(f"2 {unit}", "s") for unit in ("B", "kB", "MB", "GB")] == [2.0, 2e3, 2e6, 2e9]
    assert [size(f"2 {unit}", "s") for unit in ("KiB", "MiB", "GiB")] == [2.0**11, 2.0**21, 2.0**31]
    assert [watts(text, "p") for text in ("250 mW", "12.5W", "1 kW")] == [0.25, 12.5, 1000.0]


@pytest.mark.parametrize(
    "value", [4, 0.004, "4", "4 m", "4 MS", "-4 ms", "ms", "4 ms ", "4,5 ms", "", None, True]
)
def test_what_is_no_quantity_is_refused_with_its_field(value: object) -> None:
    sentence = f'links[0].delay: {value!r} is not a quantity like "4 ms"; the units are us, ms, s, min, h'
    with pytest.raises(ConfigError, match=re.escape(sentence)):
        seconds(value, "links[0].delay")


def test_exponents_are_read_and_the_infinite_is_refused() -> None:
    assert seconds("1.5E-3 s", "delay") == 0.0015
    with pytest.raises(ConfigError, match="delay: '1e400 s' is not a quantity"):
        seconds("1e400 s", "delay")
