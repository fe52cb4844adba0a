"""ROMA's evaluation: no scheme beats the settings themselves, and out of sample means out of it."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest

from flowedge.planner.model.checker import violations
from flowedge.planner.papers.roma.allocation import ETA
from flowedge.planner.papers.roma.couplings import Points
from flowedge.planner.papers.roma.strategy import roma
from tools.papers import roma as evaluation
from tools.papers import roma_cases, roma_grid, roma_plans
from tools.papers.roma_cases import Case, case, fits, street

pytest.importorskip("sklearn", reason='needs the extra "papers"')


def points() -> list[roma_grid.Point]:
    """Two streets, the second a little harder: more pixels, quality and tiles find more and take more."""
    found = []
    for number, width, quality, tiles, skip in product((5, 6), (480, 1920), (10, 80), (1, 4), (0, 3, 15)):
        rate, pixels = 10 / (skip + 1), (width / 1920) ** 2
        net = rate * pixels * (0.1 + quality / 100) * number / 5
        com = rate * 0.04 * tiles
        score = 0.97 - 0.2 / tiles - 0.1 * (width < 1920) - 0.1 * (quality < 80) - 0.02 * skip - 0.01 * number
        found.append(roma_grid.Point(number, width, quality, tiles, skip, net, com, score))
    return found


@pytest.fixture(scope="module")
def example() -> Case:
    return case("street", street(points(), 5), street(points(), 6))


def test_the_grid_survives_a_file(tmp_path: Path) -> None:
    roma_grid.write(points(), tmp_path / "grid.csv")
    again = roma_grid.read(tmp_path / "grid.csv")
    assert [point.street for point in again] == [point.street for point in points()]
    assert [point.net for point in again] == pytest.approx([point.net for point in points()], abs=1e-5)


def test_errors_are_given_in_and_out_of_sample(example: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roma_cases, "FOLDS", 2)
    monkeypatch.delitem(roma_cases.FITS, "MLP")  # seconds for each fold; `example` has one
    monkeypatch.setattr(roma_cases, "COUPLINGS", tuple(each for each in roma_cases.COUPLINGS if each != "MLP"))
    found = {(each.direction, each.coupling, each.sample): each for each in fits(example)}
    assert {sample for _, _, sample in found} == {"in sample", "2 folds", "other street"}
    for direction in ("com,net", "net,com"):
        known, left_out = (found[direction, "linear", each].errors.mse for each in ("in sample", "2 folds"))
        assert known < left_out


@pytest.mark.parametrize("eta", [0.02, ETA, 0.5])
def test_no_coupling_is_better_than_the_settings_themselves(example: Case, eta: float) -> None:
    def objective(used: evaluation.Used) -> float:
        return eta * (used.net / 10 + used.com / 16) - (1 - eta) * used.reached

    by = {
        (each.scheme, each.varied, each.net_available, each.com_available): each
        for each in evaluation.sweep(example, eta)
    }
    for (scheme, *condition), used in by.items():
        assert used.net <= used.net_available + 1e-6
        assert used.com <= used.com_available + 1e-6
        assert used.reached <= by["static", *condition].reached + 1e-9
        assert objective(used) >= objective(by["settings", *condition]) - 1e-6, scheme


def test_static_takes_what_the_best_setting_needs_and_no_more(example: Case) -> None:
    static = [each for each in evaluation.sweep(example, ETA) if each.scheme == "static"]
    net, com, reached = example.known.columns
    assert static[0].reached == reached.max()
    assert (static[0].net, static[0].com) == (net[reached.argmax()], com[reached.argmax()])


def test_every_plan_on_a_site_holds() -> None:
    problem = roma_plans.site([each for each in points() if each.street == 5], (2, 4), 6.0, 0.6)
    for name, scheme in roma_plans.SCHEMES.items():
        assert violations(problem, scheme(problem)) == (), name
    assert roma(problem).found


def test_what_couplings_do_not_allow_is_given_all_there_is() -> None:
    poor = case("poor", Points([5.0, 6.0], [8.0, 9.0], [0.5, 0.6]))
    used = [
        each for each in evaluation.sweep(poor, ETA) if each.scheme == "settings" and each.net_available < 5
    ]
    assert all(each.net == each.net_available and each.reached == 0 for each in used)
    assert np.isnan(used[0].fresh)
