"""Distributions of durations against numpy's exact quantiles."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowedge.monitor.histogram import Histogram

durations = st.lists(st.floats(1e-6, 1000.0), min_size=1, max_size=200)


def histogram(seconds: list[float]) -> Histogram:
    made = Histogram()
    for each in seconds:
        made.add(each)
    return made


@settings(max_examples=50)
@given(durations, st.sampled_from([0.0, 0.01, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0]))
def test_quantiles_are_within_one_percent(seconds, share):
    exact = np.quantile(seconds, share, method="inverted_cdf")
    assert histogram(seconds).quantile(share) == pytest.approx(exact, rel=0.01)


def test_quantiles_of_many_are_within_one_percent():
    seconds = np.random.default_rng(0).lognormal(-4, 1.5, 20_000).tolist()
    times = histogram(seconds)
    for share in (0.05, 0.5, 0.95, 0.999):
        assert times.quantile(share) == pytest.approx(np.quantile(seconds, share), rel=0.01)


@settings(max_examples=30)
@given(st.lists(durations, max_size=5))
def test_merging_is_counting_everything_in_one(groups):
    together = histogram([each for group in groups for each in group])
    merged = Histogram.merged(map(histogram, groups))
    assert len(merged) == len(together)
    assert merged.summary_ms() == together.summary_ms()


def test_merging_leaves_the_merged_alone():
    one, other = histogram([0.1]), histogram([0.2])
    Histogram.merged([one, other]).add(0.3)
    assert (len(one), len(other)) == (1, 1)


@pytest.mark.parametrize("empty", [Histogram(), Histogram.merged([]), Histogram.merged([Histogram()])])
def test_the_empty_one_has_no_quantiles(empty):
    assert len(empty) == 0
    assert empty.quantile(0.5) is None
    assert empty.summary_ms() == {"p50": None, "p95": None, "p99": None}


@pytest.mark.parametrize(("seconds", "counted_as"), [(0.0, 1e-6), (-1.0, 1e-6), (1e-9, 1e-6), (1e6, 1071.0)])
def test_durations_out_of_range_count_as_the_nearest_in_range(seconds, counted_as):
    assert histogram([seconds]).quantile(1.0) == pytest.approx(counted_as, rel=0.02)


def test_the_summary_is_in_milliseconds():
    summary = histogram([0.001 * n for n in range(1, 101)]).summary_ms()
    assert summary == pytest.approx({"p50": 50, "p95": 95, "p99": 99}, rel=0.01)
