import numpy as np
import pytest

from flowedge.dispatch import aset_constants as constants
from flowedge.dispatch import make
from tools.train_aset import TRAINED_ON, Environment, Learner, reward_of, scattered, train, workers_of

FULL_EDGE = constants.TOPOLOGIES["full-edge"]


def test_the_learner_finds_the_best_action_of_each_state() -> None:
    learner = Learner((2, 16, 3), np.random.default_rng(0), rate=5e-3)
    rng = np.random.default_rng(1)
    worth = np.array([[0.0, 1.0, 0.5], [0.8, 0.2, 0.0]])
    for _ in range(600):
        situation, action = rng.integers(2, size=32), rng.integers(3, size=32)
        state = np.eye(2)[situation]
        learner.learn(state, action.astype(float), worth[situation, action], state, np.zeros(32))
    np.testing.assert_allclose(learner.network()(np.eye(2)), worth, atol=0.05)


def test_the_learner_looks_ahead() -> None:
    # One state, one action that brings 1 in every window: it is worth 1 / (1 - discount).
    learner = Learner((1, 8, 1), np.random.default_rng(0), rate=1e-2)
    ones = np.ones((32, 1))
    for _ in range(60 * constants.TARGET_EVERY):
        learner.learn(ones, np.zeros(32), np.ones(32), ones, np.ones(32))
    assert learner.network()(np.ones(1))[0] == pytest.approx(1 / (1 - constants.DISCOUNT), rel=0.05)


def test_an_episode_is_the_same_by_seed_and_another_by_another() -> None:
    def queries(seed: int) -> list[list[float]]:
        environment = Environment(workers_of(FULL_EDGE), lambda _: 60.0, seed)
        policy = make("random-proportional-load")
        return [environment.window(policy).tolist() for _ in range(8)]

    assert queries(1) == queries(1)
    assert queries(1) != queries(2)


def test_streams_that_leave_give_back_what_they_took() -> None:
    environment = Environment(workers_of(FULL_EDGE), lambda time: 60.0 if time < 60 else 1e-9, 3)
    policy = make("load-balancing")
    loads = []
    while environment.time < 2000:
        environment.window(policy)
        loads.append(environment.workers.load.sum())
    assert max(loads) > 300
    np.testing.assert_allclose(environment.workers.load, 0.0, atol=1e-6)
    assert environment.workers.streams.sum() == 0


def test_about_a_thousand_queries_per_second_at_60_clients_per_minute() -> None:
    environment = Environment(workers_of(FULL_EDGE), lambda _: 60.0, 4)
    policy = make("power-of-two")
    offered = sum(environment.window(policy).sum() * (environment.time > 200) for _ in range(120))
    assert offered / (120 * constants.WINDOW - 200) == pytest.approx(1000, rel=0.15)


def test_the_reward_is_what_neither_failed_nor_was_rejected() -> None:
    assert reward_of(np.array([60.0, 30.0, 10.0])) == 0.6
    assert reward_of(np.zeros(3)) == 1.0


@pytest.mark.parametrize("name", TRAINED_ON)
def test_scattered_topologies_have_about_the_capacity_of_the_whole(name: str) -> None:
    rng, sites = np.random.default_rng(0), constants.TOPOLOGIES[name]
    whole = workers_of(sites).capacity.sum()
    for _ in range(20):
        workers = scattered(sites, rng)
        assert 2 <= len(set(workers.cluster)) <= len(sites)
        assert 0.79 < workers.capacity.sum() / whole < 1.26


def test_training_is_the_same_by_seed() -> None:
    one, other = train(seed=7, episodes=2), train(seed=7, episodes=2)
    for first, second in zip(one.weights, other.weights, strict=True):
        np.testing.assert_array_equal(first, second)
    assert "--seed 7 --episodes 2" in one.note
