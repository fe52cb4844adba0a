"""Profiles as CSV tables."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from flowedge.errors import ConfigError
from flowedge.planner.files import profile_table
from flowedge.planner.files.profile_table import profiles
from flowedge.planner.model.profiles import Service, setting


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
        (
            "operator,kind,cores,time_ms,size\nD,k,1,3,416\nD,k,1,4,512\n",
            "line 3: D has a time of 0.003 s for these .* 0.004 s",
        ),
        (
            "setting.x,accuracy\n1,0.3\n2,0.4\n1,0.5\n",
            "line 4: this setting has an accuracy of 0.3 .* here 0.5;",
        ),
        ("operator,output_kB\nD,2\nD,9\n", "line 3: D has an output of 2000 B for .* here 9000 B; tell"),
        ("operator,kind,cores,time_ms,setting.\nD,k,1,3,5\n", r"line 2: the column 'setting\.' names no knob"),
        ("setting.x,accuracy\nNaN,0.3\n", r"line 2\.setting\.x: 'NaN' equals no value; leave"),
        ("operator,kind,kind,time\n", "line 1: there are two columns 'kind'"),
        ("operater,kind,cores,time\n", "line 1: there is no column 'operater'; did you mean"),
        ("operator,kind,cores,time_ms\nDetect,orin,1,2,3\n", "line 2: has 5 cells"),
        ("operator,time_ms,accuracy\n,,64.9\n", "line 2.accuracy: 64.9 is not a share from 0 to 1"),
    ],
)
def test_mistakes_are_named(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        profiles(text)


def test_rows_that_agree_say_a_thing_once() -> None:
    known = profiles("operator,kind,cores,time_ms,accuracy,output_kB\nD,pi,1,9,0.3,2\nD,orin,1,3,0.3,2\n")
    assert [len(each) for each in (known.services, known.outputs, known.accuracies)] == [2, 1, 1]


def test_the_work_grows_as_the_rows_not_as_their_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def counted(service: Service, **changes: Any) -> Service:
        made.append(service)
        return replace(service, **changes)

    monkeypatch.setattr(profile_table, "replace", counted)
    rows = "".join(f"D,pi,1,9,{size}\n" for size in range(100))
    assert len(profiles(f"operator,kind,cores,time_ms,setting.size\n{rows}").services) == 100
    assert len(made) <= 100
