from collections import Counter

import numpy as np
import pytest

from flowedge.dispatch import make
from tests.dispatch.fleets import fleet, stream, twins

RNG = np.random.default_rng


def test_closest_takes_any_worker_of_the_nearest_cluster() -> None:
    rng, policy = RNG(0), make("closest")
    chosen = {policy.choose(stream(), fleet(), rng) for _ in range(50)}
    assert chosen == {0, 1}


def test_closest_moves_on_where_the_nearest_cluster_has_nothing_feasible() -> None:
    workers = fleet()
    workers.load[:2] = workers.capacity[:2]
    assert make("closest").choose(stream(), workers, RNG(0)) == 2


def test_a_deviating_delay_makes_a_cluster_farther() -> None:
    workers = fleet()
    workers.deviation[:2] = 0.005
    workers.refresh()
    assert make("closest").choose(stream(), workers, RNG(0)) == 2


def test_load_balancing_counts_queries_per_second_and_not_their_share() -> None:
    workers = fleet()
    workers.load[:] = [2.0, 3.0, 4.0, 5.0]
    assert make("load-balancing").choose(stream(), workers, RNG(0)) == 0


def test_farthest_takes_the_farthest_cluster_that_can_answer_in_time() -> None:
    policy = make("farthest")
    assert policy.choose(stream(), fleet(), RNG(0)) == 3
    assert policy.choose(stream(deadline=0.059), fleet(), RNG(0)) == 2


def test_cheaper_takes_the_slowest_answer_that_is_in_time() -> None:
    policy = make("cheaper")
    assert policy.choose(stream(), fleet(), RNG(0)) == 1
    assert policy.choose(stream(deadline=0.061), fleet(), RNG(0)) == 3
    assert policy.choose(stream(deadline=0.045), fleet(), RNG(0)) == 0


def test_least_impedance_takes_the_fastest_answer() -> None:
    workers = fleet()
    assert make("least-impedance").choose(stream(), workers, RNG(0)) == 2
    workers.up[2] = False
    assert make("least-impedance").choose(stream(), workers, RNG(0)) == 0


def test_random_by_latency_is_in_proportion_to_one_over_the_time_to_an_answer() -> None:
    _in_proportion("random-proportional-latency", fleet(), 1 / np.array([0.042, 0.062, 0.030, 0.060]))


def test_random_by_load_is_in_proportion_to_capacity_over_load() -> None:
    workers = twins(3)
    workers.load[:] = [1.0, 2.0, 4.0]
    _in_proportion("random-proportional-load", workers, 10 / workers.load)


def test_random_by_load_can_choose_an_idle_worker() -> None:
    workers = twins(2)
    workers.load[0] = 5.0
    rng, policy = RNG(0), make("random-proportional-load")
    assert Counter(policy.choose(stream(), workers, rng) for _ in range(100))[1] > 90


def _in_proportion(name: str, workers: object, weights: np.ndarray) -> None:
    rng, policy, draws = RNG(1), make(name), 4000
    counts = Counter(policy.choose(stream(), workers, rng) for _ in range(draws))  # type: ignore[arg-type]
    for worker, share in enumerate(weights / weights.sum()):
        assert counts[worker] / draws == pytest.approx(share, abs=4 * (share * (1 - share) / draws) ** 0.5)
