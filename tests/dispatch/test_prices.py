import numpy as np
import pytest

from flowedge.dispatch import Request, Workers
from flowedge.dispatch.demand import Demand
from flowedge.dispatch.prices import DualPrice
from tests.dispatch.fleets import stream, twins

RNG = np.random.default_rng(0)


def near_and_far() -> Workers:
    """A small worker at hand and a large one 50 ms away, both quick."""
    return Workers.idle([0, 1], [0.0, 0.05], [[0.01, 0.01]], [[0.5, 0.5]], [100.0, 1000.0])


STRICT = Request(0, deadline=0.08, rate=10.0)
EASY = Request(0, deadline=0.50, rate=10.0)


def arrive(policy: DualPrice, workers: Workers, request: Request, times: int) -> list[int | None]:
    """Streams that come and are never bound for good: the demand is seen, the load stays."""
    return [policy.choose(request, workers, RNG) for _ in range(times)]


def test_without_scarcity_nothing_has_a_price() -> None:
    workers, policy = near_and_far(), DualPrice()
    arrive(policy, workers, STRICT, 5)
    policy.window(workers, RNG)
    assert policy.prices.tolist() == [0.0, 0.0]


def test_what_strict_streams_need_becomes_dear_and_easy_ones_go_elsewhere() -> None:
    workers, policy = near_and_far(), DualPrice()
    assert set(arrive(policy, workers, STRICT, 20)) == {0}
    for _ in range(4):
        policy.window(workers, RNG)
    near, far = policy.prices
    assert near > 0.5
    assert far == 0.0
    assert policy.choose(EASY, workers, RNG) == 1
    assert policy.choose(STRICT, workers, RNG) == 0


def test_a_query_that_is_worth_less_than_its_worker_is_rejected() -> None:
    workers, policy = near_and_far(), DualPrice()
    arrive(policy, workers, STRICT, 20)
    for _ in range(6):
        policy.window(workers, RNG)
    workers.load[0] = 80.0
    assert policy.choose(STRICT._replace(weight=1.5), workers, RNG) is None


def test_of_equal_workers_the_less_loaded_is_likelier_to_succeed() -> None:
    workers = twins(3)
    workers.load[:] = [6.0, 2.0, 4.0]
    assert DualPrice().choose(stream(rate=1.0), workers, RNG) == 1


def test_a_queue_that_outlasts_the_deadline_is_hopeless() -> None:
    workers = twins(2)
    workers.waiting[:] = [9, 9]
    workers.in_flight[:] = 1
    assert DualPrice().choose(stream(deadline=0.5), workers, RNG) is None
    workers.waiting[1] = 0
    assert DualPrice().choose(stream(deadline=0.5), workers, RNG) == 1


def test_the_prices_are_the_duals_of_the_programme() -> None:
    # One worker, filled to 90 queries/s; 50 of one class with P = p1 and 200 of another with P = p2 < p1. The
    # second fills what is left, so that one more query per second would bring p2. Its slack is 4 services.
    workers = Workers.idle([0], [0.0], [[0.01]], [[0.5]], [100.0])
    policy = DualPrice(smoothing=1.0, fill=0.9)
    policy.choose(Request(0, 0.5, rate=50.0), workers, RNG)
    policy.choose(Request(0, 0.05, rate=200.0), workers, RNG)
    policy.window(workers, RNG)
    bridge = 2 * 4**2 / (90 / 200)
    assert policy.prices[0] == pytest.approx(1 - 0.9 * np.exp(-0.1 * 4 / policy.variability - bridge))


def test_a_load_that_rounding_left_below_zero_is_none() -> None:
    workers = twins(2)
    workers.load[:] = [-1e-15, 5.0]
    assert DualPrice().choose(stream(rate=1.0), workers, RNG) == 0


def test_many_thin_streams_are_less_regular_than_few_thick_ones() -> None:
    workers = twins(2, capacity=20.0)
    workers.load[:] = 10.0
    workers.streams[:] = [30, 2]
    assert DualPrice().choose(stream(rate=1.0, deadline=0.15), workers, RNG) == 1


def test_a_window_without_demand_or_without_workers_up_has_no_prices() -> None:
    workers, policy = near_and_far(), DualPrice()
    policy.window(workers, RNG)
    assert policy.prices.tolist() == [0.0, 0.0]
    arrive(policy, workers, STRICT, 3)
    workers.up[:] = False
    policy.window(workers, RNG)
    assert policy.prices.tolist() == [0.0, 0.0]


def test_demand_grows_to_what_would_be_there_if_nobody_were_rejected() -> None:
    demand = Demand(lambda request: request.application)
    for _ in range(40):
        for number in range(10):
            demand.arrived(stream(rate=1.0), taken=number < 5)
        # 5 are bound per window, and once 20 are there a quarter of them leaves.
        for _ in range(max(0, demand._active - 15)):
            demand.ended(stream(rate=1.0))
        demand.window(10.0)
    assert demand.classes[0].rate == pytest.approx(40.0, rel=0.05)


def test_single_queries_count_per_second() -> None:
    demand = Demand(lambda request: request.application, smoothing=1.0)
    for _ in range(30):
        demand.arrived(Request(0, 0.1), taken=True)
    demand.window(10.0)
    assert demand.classes[0].rate == 3.0
    demand.window(10.0)
    assert demand.classes[0].rate == 0.0
