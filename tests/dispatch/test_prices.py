import numpy as np
import pytest
from scipy.optimize import OptimizeResult

from flowedge.dispatch import Request, Workers
from flowedge.dispatch.demand import Demand
from flowedge.dispatch.prices import Borders, DualPrice
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
    arrive(policy, workers, STRICT._replace(rate=0.0), 5)
    policy.window(workers, RNG)
    assert policy.prices.tolist() == [0.0, 0.0]


def test_until_streams_have_ended_more_are_expected_than_there_are() -> None:
    workers, policy = near_and_far(), DualPrice()
    arrive(policy, workers, STRICT, 2)
    policy.window(workers, RNG)
    assert policy.prices[0] > 0.1


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


def test_where_capacity_has_a_price_the_fullest_of_equal_workers_is_filled_up() -> None:
    workers, policy = twins(3), DualPrice()
    workers.load[:] = [6.0, 2.0, 4.0]
    policy.prices = np.full(3, 0.5)
    assert policy.choose(stream(rate=1.0), workers, RNG) == 0
    assert policy.choose(stream(rate=5.0), workers, RNG) == 2
    assert policy.choose(stream(rate=1.0, deadline=0.12), workers, RNG) == 1  # 0.2 likelier than elsewhere


def test_a_queue_that_outlasts_the_deadline_is_hopeless_for_a_query_and_nothing_to_a_stream() -> None:
    workers = twins(2)
    workers.waiting[:] = [9, 9]
    workers.in_flight[:] = 1
    assert DualPrice().choose(Request(0, deadline=0.5), workers, RNG) is None
    assert DualPrice().choose(stream(deadline=0.5), workers, RNG) == 0
    workers.waiting[1] = 0
    assert DualPrice().choose(Request(0, deadline=0.5), workers, RNG) == 1


def test_no_worker_gets_more_than_its_capacity_whatever_the_filter() -> None:
    workers = twins(2)
    workers.load[:] = 7.0
    assert DualPrice().choose(stream(rate=4.0), workers, RNG) is None


def test_the_prices_are_the_mean_duals_of_the_programmes() -> None:
    # One worker, filled to 90 queries/s; 50 of one class with P = p1 and 200 of another with P = p2 < p1. In
    # five of eight futures enough of both have come that the second fills what the first leaves: there one more
    # query per second would bring p2. In the others it would bring nothing.
    workers = Workers.idle([0], [0.0], [[0.01], [0.01]], [[0.5], [0.5]], [100.0])
    policy = DualPrice(samples=8, fill=0.9)
    policy._demand.smoothing = 1.0
    seconds = policy.period
    for application, deadline, rate in (0, 0.5, 50), (1, 0.05, 200):
        arrive(policy, workers, Request(application, deadline), round(rate * seconds))
    policy.window(workers, RNG)
    assert policy.prices[0] == pytest.approx(5 / 8 * (1 - 0.9 * np.exp(-0.1 * 4 / policy.variability)))


def test_windows_grow_from_a_tenth_of_the_interval_to_the_whole() -> None:
    policy, workers, periods = DualPrice(interval=10.0), twins(1), []
    for _ in range(6):
        periods.append(policy.period)
        policy.window(workers, RNG)
    assert periods == [1.0, 1.0, 2.0, 4.0, 8.0, 10.0]


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


def test_requests_that_the_same_workers_can_serve_are_one_class() -> None:
    borders = Borders(near_and_far())  # answers take 10 and 110 ms
    classes = [borders.class_of(Request(0, deadline, accuracy=accuracy), deadline) for deadline, accuracy in
               ((0.02, 0.1), (0.10, 0.5), (0.12, 0.1), (0.02, 0.6))]  # fmt: skip
    assert classes[0] == classes[1]
    assert len(set(classes)) == 3


def test_a_worker_that_does_not_serve_an_application_parts_no_classes() -> None:
    borders = Borders(Workers.idle([0, 0], [0.0, 0.0], [[0.05, np.nan]], [[0.5, 0.5]], [10.0, 10.0]))
    one, other, hopeless = (borders.class_of(Request(0, budget), budget) for budget in (0.06, 5.0, 0.04))
    assert one == other != hopeless


def test_classes_that_a_failure_moved_are_found_by_what_they_need_now() -> None:
    workers, policy = near_and_far(), DualPrice()
    arrive(policy, workers, STRICT, 20)
    policy.window(workers, RNG)
    workers.delay[0] = 0.2  # from now on nothing serves strict ones, and only the far worker those of 0.2 s
    workers.refresh()
    arrive(policy, workers, EASY._replace(deadline=0.2), 1)
    found = {asked.example.deadline: asked.streams + asked.new for asked in policy._demand.classes.values()}
    assert found == {0.08: 200.0, 0.2: 10.0}


def test_classes_that_become_one_are_added() -> None:
    workers, policy = near_and_far(), DualPrice()
    arrive(policy, workers, STRICT, 2)
    arrive(policy, workers, STRICT._replace(rate=0.0), 3)
    arrive(policy, workers, EASY._replace(arrival=1.0), 1)
    workers.delay[:] = 0.0
    workers.refresh()
    arrive(policy, workers, STRICT, 1)
    (asked,) = policy._demand.classes.values()
    assert (asked.new, asked.queries) == (40.0, 3.0)


def test_the_last_prices_hold_where_a_programme_fails(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    workers, policy = near_and_far(), DualPrice()
    arrive(policy, workers, STRICT, 20)
    policy.window(workers, RNG)
    before = policy.prices.tolist()
    failed = OptimizeResult(status=4, message="numerical difficulties")
    monkeypatch.setattr("scipy.optimize.linprog", lambda *given, **options: failed)
    for _ in range(2):
        policy.window(workers, RNG)
    assert policy.prices.tolist() == before
    assert before[0] > 0
    assert [record.getMessage() for record in caplog.records] == [
        "no new prices of workers, the last ones hold: HiGHS: numerical difficulties"
    ]


def test_demand_grows_to_what_would_be_there_if_nobody_were_rejected() -> None:
    demand, bound = Demand[str](), list[Request]()
    for window in range(40):
        come = [stream(rate=1.0)._replace(stream=10 * window + number) for number in range(10)]
        for number, each in enumerate(come):
            demand.arrived("all", each, taken=number < 5)
        # 5 are bound per window, and once more than 15 are there the others leave.
        bound += come[:5]
        while len(bound) > 15:
            demand.ended(bound.pop(0))
        demand.window(10.0)
    assert demand.classes["all"].streams == pytest.approx(30.0, rel=0.1)
    assert demand.grown == pytest.approx(1.0, abs=0.01)


def test_what_is_there_over_what_has_grown_is_what_there_will_be() -> None:
    demand, rng, ends = Demand[str](), np.random.default_rng(1), list[float]()
    for window in range(3):
        begin = 10.0 * window + 10 * np.sort(rng.random(200))
        ends += (begin + rng.exponential(60.0, 200)).tolist()
        for _ in begin:
            demand.arrived("all", stream(rate=1.0), taken=True)
        for _ in range(sum(end <= 10.0 * (window + 1) for end in ends)):
            demand.ended(stream(rate=1.0))
        ends = [end for end in ends if end > 10.0 * (window + 1)]
        demand.window(10.0)
    assert demand.classes["all"].streams / demand.grown == pytest.approx(20 * 60, rel=0.2)


def test_a_stream_that_asks_again_with_every_query_is_one_stream() -> None:
    demand, lost = Demand[str](), Request(0, 0.1, stream=7, rate=10.0)
    for _ in range(3):
        for _ in range(100):
            demand.arrived("all", lost, taken=False)
        demand.window(10.0)
    assert demand.classes["all"].streams == 10.0
    demand.arrived("all", lost._replace(stream=8), taken=False)
    demand.window(10.0)
    assert demand.classes["all"].streams == 20.0


def test_a_stream_whose_worker_failed_has_not_ended() -> None:
    demand, lost = Demand[str](), Request(0, 0.1, stream=7, rate=10.0)
    demand.arrived("all", lost, taken=True)
    demand.ended(lost)
    demand.arrived("all", lost, taken=False)
    demand.arrived("all", lost, taken=True)
    demand.window(10.0)
    assert (demand.classes["all"].streams, demand.grown, demand._active) == (10.0, 0.0, 1)


def test_a_stream_of_rare_queries_is_known_over_short_windows_and_forgotten_at_last() -> None:
    demand, rare = Demand[str](), Request(0, 0.1, stream=7, rate=0.1)
    demand.arrived("all", rare, taken=False)
    for _ in range(20):
        demand.window(1.0)
    demand.arrived("all", rare, taken=False)
    for _ in range(22):
        demand.window(1.0)
    assert demand.classes["all"].streams == 0.1
    assert not demand._away


def test_single_queries_count_per_second() -> None:
    demand = Demand[str](smoothing=1.0)
    for _ in range(30):
        demand.arrived("all", Request(0, 0.1), taken=True)
    demand.window(10.0)
    assert demand.classes["all"].singles == 3.0
    demand.window(10.0)
    assert demand.classes["all"].singles == 0.0
