"""Profiles as CSV tables."""

from __future__ import annotations

import pytest

from flowedge.errors import ConfigError
from flowedge.planner.profile_table import profiles
from flowedge.planner.profiles import Service, setting


def test_any_order_case_and_separator() -> None:
    known = profiles(
        "# of a vendor\n\nTIME (ms);Cores;OPERATOR;kind;setting.Model;Memory_MiB;fps\n12,;1;a;b;c;d\n".replace(
            "12,;1;a;b;c;d", "12.5;2;Detect;orin;n;100;80"
        )
    )
    expected = Service(
        "Detect", "orin", 2, 0.0125, memory=100 * 2**20, setting=setting(Model="n"), source="table"
    )
    assert known.services == (expected,)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: is missing"),
        ("operator,kind,cores,time\nDetect,orin,1,12\n", "line 2.time: '12' is not a quantity"),
        ("operator,kind,cores,time_ms\nDetect,orin,one,12\n", "line 2.cores: 'one' is not a number from 0"),
        ("operator,kind,cores,time_ms\nDetect,,1,12\n", "line 2.kind: is missing"),
        ("operator,kind,cores,time_ms\n\nDetect,orin,1,0\n", "line 3.time: '0 ms' is not a time above 0"),
        ("operator,kind\nDetect,orin\n", "line 2: has no time, output or accuracy; name the columns operator"),
        ("operator,kind,cores,time_ms,size\nD,k,1,3,416\nD,k,1,4,512\n", "line 3: D has a time for these"),
        ("operator,kind,kind,time\n", "line 1: there are two columns 'kind'"),
        ("operater,kind,cores,time\n", "line 1: there is no column 'operater'; did you mean"),
        ("operator,kind,cores,time_ms\nDetect,orin,1,2,3\n", "line 2: has 5 cells"),
        ("operator,time_ms,accuracy\n,,64.9\n", "line 2.accuracy: 64.9 is not a share from 0 to 1"),
    ],
)
def test_mistakes_are_named(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        profiles(text)
