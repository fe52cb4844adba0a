"""ASET's comparison on a scenario of three small workers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from flowedge.dispatch import POLICIES, STATIC
from flowedge.simulate.arrivals import draw
from flowedge.simulate.scenario import Failure, Range, RequestKind, Scenario, SimulatedWorker
from tests.simulate.small import VARIANT, cluster, fixed, scenario, streams
from tools.papers import aset, aset_runs
from tools.papers.aset_bound import bound
from tools.papers.aset_runs import BEST, BOUND, FILTERS, ORACLE, OWN, Cell, PolicyRun, compared, loaded, oracle

SMALL = replace(VARIANT, seconds=0.05, batch_seconds=0.05, deviation=0.005, queue=5)


DEADLINES = Range(0.08, 0.4)


def site(deadline: Range = DEADLINES, lifetime: float = 6.0) -> Scenario:
    """Three workers, 60 queries/s, at growing distances; at lambda = 100 streams ask for about 80."""
    return scenario(
        streams(1.0, lifetime),
        cluster=cluster(0.001, 0.005, 0.02, deviation=0.001, bandwidth=1e8),
        kinds=(RequestKind("people", deadline, size=fixed(20_000), rate=Range(4.0, 12.0)),),
        workers=tuple(SimulatedWorker(f"w{number}", f"n{number}", SMALL) for number in range(3)),
        feasible=None,
    )


def test_a_cell_has_every_policy_under_every_filter_and_is_the_same_again() -> None:
    cell = Cell("tiny", "dynamic", 1, 6.0)
    found = list(compared(cell, site()))
    assert found == list(compared(cell, site()))
    assert found != list(compared(replace(cell, seed=2), site()))
    names = [(run.filter, run.policy) for run in found]
    assert names[:-2] == [(kind, name) for kind in FILTERS for name in (*POLICIES, BEST)]
    assert names[-2:] == [(OWN, ORACLE), (OWN, BOUND)]
    for run in found[:-1]:
        assert run.success + run.failed + run.rejected == pytest.approx(1)
        assert run.worst == pytest.approx(run.success)  # there is one application
    statics = [run.success for run in found if run.filter == OWN and run.policy in STATIC]
    assert next(run.success for run in found if run.policy == BEST) == max(statics)


@pytest.mark.parametrize("rate", ["40", "100"])
@pytest.mark.parametrize("seed", [0, 1])
def test_nothing_exceeds_the_bound(rate: str, seed: int) -> None:
    *others, limit = compared(Cell("tiny", rate, seed, 10.0), site())
    assert limit.policy == BOUND
    best = max(run.success for run in others)
    assert best <= limit.success + 1e-9
    assert limit.success < best + 0.25


def test_the_bound_is_the_capacity_where_much_more_is_asked_for() -> None:
    steady = SimulatedWorker("w", "n0", replace(SMALL, deviation=0.0))
    given = loaded(replace(site(fixed(0.3)), workers=(steady,)), (400.0,), 30.0, 0)
    arrivals = draw(given)
    asked = sum(len(arrivals.chunk(number).times) for number in range(6, 9)) / 30
    assert bound(given, arrivals) == pytest.approx(20 / asked, rel=0.03)


def test_the_bound_is_all_or_nothing_where_nobody_waits_or_everything_is_late() -> None:
    easy, late = (loaded(site(fixed(deadline)), (5.0,), 20.0, 0) for deadline in (0.5, 0.04))
    assert bound(easy, draw(easy)) == 1
    assert bound(late, draw(late)) < 0.05


def test_the_bound_refuses_what_it_does_not_hold_for() -> None:
    given = replace(site(), failures=(Failure("n0", 1.0, 2.0),))
    with pytest.raises(ValueError, match="no failures"):
        bound(given, draw(given))


def test_the_warm_up_ends_as_full_as_a_steady_state() -> None:
    arrivals = draw(loaded(site(lifetime=66.0), (3000.0,), 60.0, 3))
    begin = np.array([request.arrival for request in arrivals.requests])
    for time in (60.0, 90.0, 119.0):
        assert ((begin <= time) & (arrivals.end > time)).sum() == pytest.approx(50 * 66, rel=0.05)


def test_an_oracle_with_one_long_window_is_the_best_static_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    given = loaded(site(), (100.0,), 15.0, 0)
    arrivals = draw(given)
    monkeypatch.setattr(aset_runs, "WINDOW", 1000.0)
    statics = [aset_runs._played(given, name, arrivals).share("success") for name in STATIC]
    assert oracle(given, arrivals).share("success") == pytest.approx(max(statics), abs=0.01)


def fake(policy: str, shares: Sequence[float], kind: str = OWN) -> list[PolicyRun]:
    return [
        PolicyRun("tiny", "60", seed, kind, policy, share, 1 - share, 0.0, "people", share, 1e-5)
        for seed, share in enumerate(shares)
    ]


def test_differences_are_paired_and_against_the_best_without_foresight() -> None:
    base = np.array([0.5, 0.9, 0.7, 0.6])
    found = [
        *fake("closest", base.tolist()),
        *fake("dual-price", (base + 0.02).tolist()),
        *fake("aset", (base + np.array([0.07, -0.03, 0.07, -0.03])).tolist()),
        *fake(BOUND, [1.0] * 4),
    ]
    lines = {line.policy: line for line in aset.summary(found)}
    assert lines["dual-price"].difference == lines["dual-price"].low == lines["dual-price"].high == 0
    assert lines["aset"].difference == 0
    # Seeds differ by 40 points, pairs not at all: the interval is the point.
    assert (lines["closest"].low, lines["closest"].high) == pytest.approx((-2, -2))
    assert lines["aset"].low < 0 < lines["aset"].high
    assert lines[BOUND].difference > 0
    assert "dual-price is level with aset: +0.00 [" in aset.verdicts(found)[0]
    without = [run for run in found if run.policy != "aset"]
    assert "dual-price is above closest: +2.00 [+2.00, +2.00]" in aset.verdicts(without)[0]


def test_intervals_shrink_with_seeds_and_are_the_same_again() -> None:
    few = np.random.default_rng(1).normal(0.1, 1, 10)
    many = np.tile(few, 40)
    low, high = aset.interval(few)
    assert (low, high) == aset.interval(few)
    assert low < few.mean() < high
    narrow = aset.interval(many)
    assert narrow[1] - narrow[0] < 0.25 * (high - low)
    assert math.isclose(narrow[1] - narrow[0], 2 * 1.96 * few.std() / math.sqrt(400), rel_tol=0.1)
