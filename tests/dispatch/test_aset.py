from pathlib import Path

import numpy as np
import pytest

from flowedge.dispatch import Request, make, timely
from flowedge.dispatch import aset_constants as constants
from flowedge.dispatch.aset import ACTIONS, FEATURES, WEIGHTS, Aset, Observer, RandomSwitch
from flowedge.dispatch.dense import DenseNetwork
from flowedge.errors import ConfigError
from tests.dispatch.fleets import fleet, stream, twins

RNG = np.random.default_rng(0)
INPUTS = constants.HISTORY * FEATURES


def constant(action: int) -> DenseNetwork:
    """A network that prefers one action whatever it sees."""
    bias = np.zeros(len(ACTIONS))
    bias[action] = 1.0
    return DenseNetwork((np.zeros((INPUTS, len(ACTIONS))),), (bias,))


@pytest.mark.parametrize("action", range(len(ACTIONS)))
def test_the_agent_dispatches_by_the_policy_it_switched_to(action: int) -> None:
    agent = Aset(network=constant(action))
    agent.window(fleet(), RNG)
    expected = make(ACTIONS[action])
    one, other = np.random.default_rng(3), np.random.default_rng(3)
    for _ in range(20):
        assert agent.choose(stream(), fleet(), one) == expected.choose(stream(), fleet(), other)


def test_the_agent_switches_on_what_it_sees() -> None:
    # The first feature is the first tier's share of the capacity, the second its load: full means action 2.
    weight = np.zeros((INPUTS, len(ACTIONS)))
    weight[1, 2] = 1.0
    bias = np.full(len(ACTIONS), -1.0)
    bias[[2, 4]] = -0.5, 0.0
    agent, workers = Aset(network=DenseNetwork((weight,), (bias,))), twins(3)
    agent.window(workers, RNG)
    assert ACTIONS[agent.action] == ACTIONS[4]
    workers.load[:] = workers.capacity
    agent.window(workers, RNG)
    assert ACTIONS[agent.action] == ACTIONS[2]


@pytest.mark.parametrize("count", [1, 4, 90])
def test_the_state_has_one_size_for_every_topology(count: int) -> None:
    assert Observer().window(twins(count)).shape == (INPUTS,)


def test_the_state_does_not_depend_on_how_a_tier_is_cut_into_workers() -> None:
    few, many = twins(2, capacity=20.0), twins(4, capacity=10.0)
    few.load[:] = 10.0
    many.load[:] = 5.0
    assert Observer().window(few).tolist() == pytest.approx(Observer().window(many).tolist())


def test_the_latest_window_comes_first() -> None:
    observer, workers = Observer(), twins(2)
    workers.load[:] = 5.0
    observer.window(workers)
    workers.load[:] = 10.0
    state = observer.window(workers).reshape(constants.HISTORY, FEATURES)
    assert state[:, 1].tolist() == [1.0, 0.5, 0.0]


def test_streams_that_ended_are_asked_for_no_more() -> None:
    observer, request = Observer(), stream(rate=20.0, deadline=0.1)
    observer.arrived(request, taken=True)
    observer.arrived(stream(rate=5.0), taken=False)
    assert observer.groups.sum() == 20.0
    assert observer.rejected / observer.asked == 0.2
    observer.ended(request)
    assert observer.groups.sum() == 0.0


def test_throughput_is_seen_per_tier() -> None:
    workers, agent = fleet(), Aset(network=constant(0), interval=10.0)
    for _ in range(50):
        agent.answered(stream(), workers, 2, 0.03, 0)
    agent.window(workers, RNG)
    tiers = agent.observer.history[0][: 7 * constants.TIERS].reshape(constants.TIERS, 7)
    assert tiers[:, 3].tolist() == [0.0, 0.1, 0.0, 0.0]


def test_a_network_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    saved = DenseNetwork(
        (rng.normal(size=(3, 4)), rng.normal(size=(4, 2))), (np.ones(4), np.zeros(2)), "seed 1"
    )
    saved.save(tmp_path / "net.npz")
    loaded = DenseNetwork.load(tmp_path / "net.npz")
    inputs = rng.normal(size=(5, 3))
    np.testing.assert_allclose(loaded(inputs), saved(inputs), rtol=1e-5)
    assert loaded.note == "seed 1"


def test_files_that_are_no_network_are_named(tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_text("weights")
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    odd = DenseNetwork((np.zeros((3, 4)), np.zeros((5, 2))), (np.zeros(4), np.zeros(2)))
    odd.save(tmp_path / "odd.npz")
    for name in ("text", "other", "odd", "absent"):
        with pytest.raises(ConfigError, match=f"{name}.npz"):
            DenseNetwork.load(tmp_path / f"{name}.npz")


def test_a_network_for_another_state_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"has \(3, 7\) inputs and outputs"):
        Aset(network=DenseNetwork((np.zeros((3, 7)),), (np.zeros(7),)))


def test_the_shipped_network_fits_and_says_how_it_was_trained() -> None:
    network = DenseNetwork.load(WEIGHTS)
    assert Aset(network=network).network is network
    assert "tools/train_aset.py" in network.note
    assert "seed" in network.note


def test_random_switching_uses_every_policy_and_is_the_same_by_seed() -> None:
    def actions() -> list[int]:
        policy, rng, seen = RandomSwitch(), np.random.default_rng(5), []
        for _ in range(100):
            policy.window(fleet(), rng)
            seen.append(policy.action)
        return seen

    assert set(actions()) == set(range(len(ACTIONS)))
    assert actions() == actions()


def test_the_filter_reaches_the_policies_within() -> None:
    workers = twins(2)
    workers.waiting[0] = 20
    request = Request(0, deadline=0.5, rate=1.0)
    assert make("aset").choose(request, workers, RNG) == 0
    assert make("aset", timely).choose(request, workers, RNG) == 1
