from __future__ import annotations

import os

import pytest

from tools.papers.stlas_intrusion import bursts, measured, ranks


def test_bursts_take_at_least_their_work():
    took = bursts(max(os.sched_getaffinity(0)), (0.2,), 1.0)
    assert len(took) >= 3
    assert min(took) >= 0.2 * 0.020 - 1e-4


def test_a_row_says_the_shares_and_the_metric():
    used, wanted, low, high, slowdown = measured(max(os.sched_getaffinity(0)), 0.6, 0.4, 0.2, 1)
    assert (used, wanted) == (0.6, 0.4)
    assert (low, high) == pytest.approx((1.0, 1.0))
    assert slowdown > 0


def test_rank_correlation():
    rows = [(0.1, 0.1, float(at), 0.0, float(at) ** 2) for at in range(5)]
    assert ranks(rows, 2) == pytest.approx(1.0)
