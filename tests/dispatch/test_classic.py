from collections import Counter

import numpy as np

from flowedge.dispatch import Request, compatible, make
from tests.dispatch.fleets import fleet, stream, twins

RNG = np.random.default_rng


def test_round_robin_goes_around_what_is_feasible() -> None:
    workers, policy = twins(4), make("round-robin")
    workers.up[1] = False
    assert [policy.choose(stream(), workers, RNG(0)) for _ in range(5)] == [0, 2, 3, 0, 2]


def test_round_robin_goes_around_for_each_application_by_itself() -> None:
    workers, policy = twins(3, applications=2), make("round-robin")
    chosen = [policy.choose(stream(application=each), workers, RNG(0)) for each in (0, 1, 0, 1)]
    assert chosen == [0, 0, 1, 1]


def test_least_loaded_counts_shares_of_the_capacity() -> None:
    workers = fleet()
    workers.load[:] = [2.5, 3.0, 4.0, 30.0]
    assert make("least-loaded").choose(stream(), workers, RNG(0)) == 2


def test_least_loaded_counts_queries_present() -> None:
    workers = twins(3)
    workers.in_flight[:] = [1, 0, 1]
    workers.load[1] = 5.0
    assert make("least-loaded").choose(stream(), workers, RNG(0)) == 1


def test_power_of_two_never_takes_the_busiest_of_three() -> None:
    workers, rng, policy = twins(3), RNG(0), make("power-of-two")
    workers.load[:] = [1.0, 4.0, 2.0]
    counts = Counter(policy.choose(stream(), workers, rng) for _ in range(600))
    assert counts[1] == 0
    # Each of the three pairs is as likely: worker 0 wins two of them, worker 2 wins one.
    assert 340 < counts[0] < 460


def test_power_of_two_leaves_out_workers_whose_queue_is_too_long() -> None:
    workers, rng, policy = twins(3), RNG(0), make("power-of-two")
    workers.waiting[:] = [8, 0, 8]
    assert {policy.choose(stream(deadline=0.3), workers, rng) for _ in range(20)} == {1}


def test_prequal_takes_the_fastest_of_the_cold() -> None:
    workers = fleet()
    assert make("prequal").choose(stream(), workers, RNG(0)) == 2
    workers.in_flight[2] = 3
    assert make("prequal").choose(stream(), workers, RNG(0)) == 0


def test_prequal_takes_the_emptiest_where_all_are_hot() -> None:
    workers = twins(20)
    workers.in_flight[:2] = [7, 6]
    request = Request(0, deadline=0.1)
    workers.delay[2:] = 0.1
    workers.refresh()
    assert make("prequal").choose(request, workers, RNG(0)) == 1


def test_prequal_learns_from_answers_which_worker_is_slow() -> None:
    workers, policy = twins(3), make("prequal")
    assert policy.choose(stream(), workers, RNG(0)) == 0
    for _ in range(5):
        policy.answered(stream(), workers, 0, 0.3, 0)
        policy.answered(stream(), workers, 1, 0.2, 0)
    assert policy.choose(stream(), workers, RNG(0)) == 2


def test_prequal_does_not_blame_a_worker_for_the_queue_it_had() -> None:
    workers, policy = twins(2), make("prequal")
    policy.answered(stream(), workers, 0, 0.4, 3)
    policy.answered(stream(), workers, 1, 0.15, 0)
    assert policy.choose(stream(), workers, RNG(0)) == 0


def test_the_filter_of_any_policy_can_be_replaced() -> None:
    workers = twins(2)
    workers.load[:] = 20.0
    assert make("least-loaded").choose(stream(), workers, RNG(0)) is None
    assert make("least-loaded", compatible).choose(stream(), workers, RNG(0)) == 0
