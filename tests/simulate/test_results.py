"""Figures of a run, as table, CSV and picture."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from flowedge.errors import ConfigError
from flowedge.simulate.plots import drawn, kind_of
from flowedge.simulate.results import COLUMNS, as_csv, lost
from flowedge.simulate.scenario import RequestKind, SimulatedWorker, TraceRow
from tests.simulate.small import VARIANT, fixed, run, scenario, traced

ROWS = (TraceRow(1.0, "people"), TraceRow(1.0, "cars"), TraceRow(1.0, "cars"), TraceRow(6.0, "people"))
VARIANTS = replace(VARIANT, accuracy={"people": 0.5, "cars": 0.5}, queue=1)
GIVEN = scenario(
    traced(rows=ROWS),
    kinds=(RequestKind("people", fixed(0.3)), RequestKind("cars", fixed(0.15))),
    workers=(SimulatedWorker("w", "n0", VARIANTS),),
)


def test_figures_by_application() -> None:
    results = run(GIVEN)
    assert results.counts()["success"] == 2
    assert results.share("success", "people") == 1.0
    assert results.share("late", "cars") == results.share("dropped: queue full", "cars") == 0.5
    assert results.worst() == ("cars", 0.0)
    assert results.quantiles("people") == pytest.approx((0.1, 0.1, 0.1))
    assert lost(results) == {"queue full": 1}
    assert results.workers == pytest.approx({"w": 0.03})
    assert results.nodes == pytest.approx({"n0": 0.03})


def test_the_series_is_the_share_in_each_window() -> None:
    np.testing.assert_allclose(run(GIVEN).series(2.0), [1 / 3, np.nan, np.nan, 1.0, np.nan])


def test_the_csv_has_a_row_for_everything() -> None:
    runs = [run(GIVEN, name) for name in ("closest", "farthest")]
    rows = list(csv.DictReader(io.StringIO(as_csv(runs))))
    assert tuple(rows[0]) == COLUMNS
    assert [row["name"] for row in rows[:5]] == ["all", "people", "cars", "w", "n0"]
    assert rows[0]["requests"] == "4"
    assert {row["choice"] for row in rows} == {"closest", "farthest"}
    assert next(row for row in rows if row["kind"] == "node")["utilisation"] == "0.030000"


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_the_picture_is_drawn(kind: str) -> None:
    pytest.importorskip("matplotlib")
    picture = drawn(GIVEN, [run(GIVEN, name) for name in ("closest", "farthest")], kind)
    assert picture[:5] in (b"\x89PNG\r", b"<?xml")
    assert len(picture) > 5000


def test_a_picture_of_another_kind_is_refused() -> None:
    pytest.importorskip("matplotlib")
    assert kind_of(Path("runs.PDF")) == "pdf"
    with pytest.raises(ConfigError, match=r"--plot runs\.txt: write a name that ends in \.png"):
        kind_of(Path("runs.txt"))
