"""What holds for every policy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from flowedge.dispatch import FEASIBILITIES, POLICIES, Request, make
from flowedge.errors import ConfigError
from tools.bench.dispatch import workers_of

requests = some.builds(
    Request,
    application=some.integers(0, 2),
    deadline=some.floats(0.001, 1.0),
    bytes=some.floats(0, 1e6),
    rate=some.floats(0, 300),
    accuracy=some.floats(0, 0.6),
    access=some.floats(0, 0.02),
    bitrate=some.floats(1e6, 1e9),
    weight=some.floats(0.1, 4),
)


@pytest.mark.parametrize("name", POLICIES)
@settings(max_examples=40, deadline=None)
@given(request_=requests, seed=some.integers(0, 99), filter_=some.sampled_from(sorted(FEASIBILITIES)))
def test_a_chosen_worker_is_feasible_and_nothing_is_changed(
    name: str, request_: Request, seed: int, filter_: str
) -> None:
    workers = workers_of(1 + seed % 12, seed)
    workers.up[:] = np.random.default_rng(seed).random(len(workers)) < 0.8
    before = [getattr(workers, each).copy() for each in ("load", "waiting", "in_flight", "reach", "up")]
    feasible = FEASIBILITIES[filter_]
    worker = make(name, feasible).choose(request_, workers, np.random.default_rng(seed))
    mask = feasible(request_, workers)
    if worker is not None:
        assert type(worker) is int
        assert mask[worker]
    elif name != "dual-price":  # which may reject a stream that has a worker
        assert not mask.any()
    after = [getattr(workers, each) for each in ("load", "waiting", "in_flight", "reach", "up")]
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", POLICIES)
def test_decisions_are_the_same_by_seed(name: str) -> None:
    def decisions() -> list[int | None]:
        policy, workers, rng = make(name), workers_of(20), np.random.default_rng(7)
        chosen = []
        for number in range(60):
            request = Request(number % 3, 0.3, rate=3.0, stream=number)
            worker = policy.choose(request, workers, rng)
            chosen.append(worker)
            if worker is not None:
                workers.load[worker] += 3.0
                policy.answered(request, workers, worker, 0.05, 1)
            if number % 20 == 19:
                policy.window(workers, rng)
        return chosen

    assert decisions() == decisions()


def test_an_unknown_policy_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="'nearest' does not exist; there are closest, load-balancing"):
        make("nearest")
