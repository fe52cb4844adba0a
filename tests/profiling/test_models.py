"""Fitted models: what they recover, what they leave out, and how their errors count."""

from __future__ import annotations

import itertools

import pytest

from flowedge.errors import ConfigError
from flowedge.profiling.models import Encoded, Timed, errors, fit_accuracy, fit_bytes, fit_service


def test_service_times_that_follow_the_model_are_recovered() -> None:
    def truth(cores: float, pixels: float) -> float:
        return 0.002 + 0.001 * pixels / 1e6 + (0.004 + 0.03 * pixels / 1e6) / cores

    grid = itertools.product((1, 2, 4), (0.5e6, 1e6, 4e6))
    model = fit_service([Timed(cores, pixels, truth(cores, pixels)) for cores, pixels in grid])
    assert model(8, 2e6) == pytest.approx(truth(8, 2e6), rel=1e-6)
    assert model.terms == 4


def test_no_term_is_below_zero_so_that_more_cores_never_harm() -> None:
    model = fit_service([Timed(1, 0, 0.010), Timed(2, 0, 0.014)])
    assert model(1, 0) == model(16, 0)
    assert 0.010 < model(1, 0) < 0.014


def test_what_the_points_cannot_tell_is_left_out() -> None:
    model = fit_service([Timed(1, 1e6, 0.010), Timed(1, 2e6, 0.020)])
    assert (model.shared, model.shared_pixel) == (0, 0)
    assert model(1, 3e6) == pytest.approx(0.030)


def test_what_is_done_in_no_time_does_not_rule_the_fit() -> None:
    points = [Timed(1, 1e6, 0.010), Timed(1, 2e6, 0.020), Timed(1, 3e6, 0.030), Timed(1, 4e6, 1e-6)]
    assert fit_service(points)(1, 3e6) > 0.003


def test_long_times_count_by_their_share() -> None:
    model = fit_service([Timed(1, 0, 0.001), Timed(2, 0, 0.001), Timed(4, 0, 0.100)])
    assert model(4, 0) < 0.01


def test_bytes_that_follow_the_model_are_recovered() -> None:
    def truth(pixels: float, quality: float) -> float:
        return 5e4 * float((pixels / 1e6) ** 0.75) * float(2.0 ** (quality / 20))

    grid = itertools.product((2e5, 9e5), (30, 50, 80))
    model = fit_bytes([Encoded(pixels, quality, truth(pixels, quality)) for pixels, quality in grid])
    assert model(5e5, 90) == pytest.approx(truth(5e5, 90), rel=1e-6)


def test_bytes_need_two_resolutions_and_three_qualities() -> None:
    with pytest.raises(ConfigError, match="two resolutions and three qualities"):
        fit_bytes([Encoded(1e6, quality, 1e4 * quality) for quality in (30, 50, 80)])


def test_errors_in_every_measure() -> None:
    found = errors([3.0, 8.0], [4.0, 5.0])
    assert (found.mae, found.mse, found.rmse) == pytest.approx((2.0, 5.0, 5**0.5))
    assert found.share == pytest.approx(2.0 / 4.5)


def test_fit_of_yolov4_on_coco_is_that_of_the_published_figures() -> None:
    model = fit_accuracy((320, 416, 512, 608), (0.600, 0.628, 0.649, 0.657))
    assert (model.a1, model.a2, model.a3) == pytest.approx((0.674, 0.405, 188.7), rel=2e-3)
    assert model.residual < 0.0021
    with pytest.raises(ConfigError, match="three different"):
        fit_accuracy((320, 416, 416), (0.6, 0.62, 0.62))
