import numpy as np
import pytest

from flowedge.dispatch import aset_constants as constants
from flowedge.simulate.core import LATE, REJECTED, SUCCESS
from tools.train_aset import TRAINED_ON, Learner, Memory, reward_of, train


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


def test_the_memory_forgets_the_oldest_and_knows_where_an_episode_ends() -> None:
    memory, state = Memory([]), np.zeros(2)
    for number in range(constants.REPLAY + 5):
        memory.add(state, number, 0.5, state, over=number % 2 == 0)
    assert len(memory.rows) == constants.REPLAY
    assert [row[1] for row in memory.rows[:2]] == [5, 6]
    assert [row[4] for row in memory.rows[:2]] == [1.0, 0.0]


def test_the_reward_is_what_neither_failed_nor_was_rejected() -> None:
    assert reward_of([SUCCESS, LATE, SUCCESS, REJECTED]) == 0.5
    assert reward_of([]) == 1.0


def test_the_unseen_topology_is_not_trained_on() -> None:
    assert set(TRAINED_ON) < set(constants.TOPOLOGIES)
    assert "co-dc-cloud" not in TRAINED_ON


def test_training_is_the_same_by_seed() -> None:
    one, other = (train(seed=7, episodes=2, horizon=90.0) for _ in range(2))
    for first, second in zip(one.weights, other.weights, strict=True):
        np.testing.assert_array_equal(first, second)
    assert "--seed 7 --episodes 2" in one.note
