"""Trains ASET's network: `python -m tools.train_aset --seed 0`.

Double DQN with replay (Mnih et al. 2013; van Hasselt et al. 2016) in numpy, over episodes of `aset_constants`
in the simulator itself, query by query, on the scenario files of two of the three topologies.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flowedge.dispatch import Workers
from flowedge.dispatch import aset_constants as constants
from flowedge.dispatch.aset import ACTIONS, FEATURES, WEIGHTS, Aset
from flowedge.dispatch.network import Network
from flowedge.dispatch.workers import Floats
from flowedge.simulate import reading
from flowedge.simulate.core import SUCCESS
from flowedge.simulate.dispatching import Dispatching
from flowedge.simulate.scenario import Scenario
from tools.papers.aset_runs import FOLDER, WARMUP, loaded

TRAINED_ON = "dc-cloud", "full-edge"
"""The third topology, co-dc-cloud, is left for evaluation."""
UPDATES = 4
"""Learning steps for each window seen."""


@dataclass
class Learner:
    """Q-learning with a target network and Adam, on Huber's loss."""

    sizes: tuple[int, ...]
    rng: np.random.Generator
    rate: float = constants.LEARNING_RATE
    steps: int = 0

    def __post_init__(self) -> None:
        pairs = list(zip(self.sizes[:-1], self.sizes[1:], strict=True))
        self.parameters = [self.rng.normal(0, math.sqrt(2 / a), (a, b)) for a, b in pairs]
        self.parameters += [np.zeros(b) for _, b in pairs]
        self.first = [np.zeros_like(each) for each in self.parameters]
        self.second = [np.zeros_like(each) for each in self.parameters]
        self.target = self.network()

    def network(self, note: str = "") -> Network:
        """The network as it is now."""
        depth = len(self.sizes) - 1
        copies = [each.copy() for each in self.parameters]
        return Network(tuple(copies[:depth]), tuple(copies[depth:]), note)

    def learn(self, state: Floats, action: Floats, reward: Floats, following: Floats, going: Floats) -> None:
        """One step on a batch."""
        chosen = self.network()(following).argmax(1)
        rows = np.arange(len(state))
        goal = reward + constants.DISCOUNT * going * self.target(following)[rows, chosen]
        depth = len(self.sizes) - 1
        weights, biases = self.parameters[:depth], self.parameters[depth:]
        layers = [state]
        for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
            layers.append(np.maximum(layers[-1] @ weight + bias, 0))
        values = layers[-1] @ weights[-1] + biases[-1]
        index = action.astype(int)
        slope = np.zeros_like(values)
        slope[rows, index] = np.clip(values[rows, index] - goal, -1, 1) / len(state)
        gradients: list[Floats] = [np.zeros(0)] * len(self.parameters)
        for level in reversed(range(depth)):
            gradients[level] = layers[level].T @ slope
            gradients[depth + level] = slope.sum(0)
            slope = (slope @ weights[level].T) * (layers[level] > 0)
        self._adam(gradients)
        if self.steps % constants.TARGET_EVERY == 0:
            self.target = self.network()

    def _adam(self, gradients: list[Floats]) -> None:
        self.steps += 1
        for value, gradient, first, second in zip(
            self.parameters, gradients, self.first, self.second, strict=True
        ):
            first += 0.1 * (gradient - first)
            second += 0.001 * (gradient**2 - second)
            mean = first / (1 - 0.9**self.steps)
            value -= self.rate * mean / (np.sqrt(second / (1 - 0.999**self.steps)) + 1e-8)


class Explorer(Aset):
    """The agent in training: it keeps what it sees and lets the trainer act."""

    state: Floats

    def window(self, workers: Workers, rng: np.random.Generator) -> None:  # noqa: ARG002
        """Only looks."""
        self.state = self.observer.window(workers)


@dataclass
class Memory:
    """The latest transitions: state, action, reward, following state, and 0 where the episode is over, or 1."""

    rows: list[tuple[Floats, int, float, Floats, float]]

    def add(self, state: Floats, action: int, reward: float, following: Floats, over: bool) -> None:
        """One window has passed."""
        self.rows.append((state, action, reward, following, float(not over)))
        del self.rows[: -constants.REPLAY]

    def teach(self, learner: Learner, rng: np.random.Generator) -> None:
        """Some steps of learning, once there is enough to learn from."""
        if len(self.rows) < 5 * constants.BATCH:
            return
        for _ in range(UPDATES):
            picked = [self.rows[i] for i in rng.integers(len(self.rows), size=constants.BATCH)]
            learner.learn(*(np.array(column) for column in zip(*picked, strict=True)))


def reward_of(outcomes: Sequence[int]) -> float:
    """1 - failed - rejected, as shares of a window's queries."""
    return list(outcomes).count(SUCCESS) / len(outcomes) if outcomes else 1.0


def train(seed: int, episodes: int, horizon: float = constants.HORIZON) -> Network:
    """The trained network, after episodes of `horizon` seconds; prints the mean reward of every 10."""
    rng = np.random.default_rng(seed)
    learner = Learner((constants.HISTORY * FEATURES, *constants.HIDDEN, len(ACTIONS)), rng)
    scenarios = [reading.load(FOLDER / f"aset-{name}.toml") for name in TRAINED_ON]
    memory = Memory([])
    rewards: list[float] = []
    start, end = constants.EXPLORATION
    for episode in range(episodes):
        epsilon = max(end, start + (end - start) * episode / (0.6 * episodes))
        learner.rate = constants.LEARNING_RATE * (1 - 0.95 * episode / episodes)
        scenario = scenarios[episode % len(scenarios)]
        given = loaded(scenario, (constants.LAMBDA,), horizon - WARMUP, int(rng.integers(2**31)))
        rewards.append(_episode(learner, given, epsilon, memory, rng))
        if episode % 10 == 9:
            print(
                f"episode {episode + 1:4}  epsilon {epsilon:.2f}  reward {np.mean(rewards[-10:]):.4f}",
                flush=True,
            )
    return learner.network(
        f"python -m tools.train_aset --seed {seed} --episodes {episodes}; lambda {constants.LAMBDA:g}, "
        f"topologies {', '.join(TRAINED_ON)}; {horizon:g} s an episode in flowedge.simulate"
    )


def _episode(
    learner: Learner, scenario: Scenario, epsilon: float, memory: Memory, rng: np.random.Generator
) -> float:
    """Plays an episode, learning as it goes. The mean reward of its windows."""
    agent = Explorer(network=learner.network())
    simulation = Dispatching(scenario, agent)
    outcomes = simulation.core.tally.outcome
    rewards: list[float] = []
    state: Floats = np.zeros(0)
    for number in range(1, math.ceil(scenario.duration / agent.period)):
        seen = len(outcomes)
        # Up to the window's end and with it: the agent looks at this very moment.
        simulation.advance(math.nextafter(number * agent.period, math.inf))
        if number > 1:
            rewards.append(reward_of(outcomes[seen:]))
            over = rewards[-1] < constants.THRESHOLD and len(rewards) > constants.PATIENCE
            memory.add(state, agent.action, rewards[-1], agent.state, over)
            memory.teach(learner, rng)
            if over:
                break
        state = agent.state
        agent.action = int(learner.network()(state).argmax())
        if rng.random() < epsilon:
            agent.action = int(rng.integers(len(ACTIONS)))
    return float(np.mean(rewards))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--episodes", type=int, default=constants.EPISODES)
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    given = parser.parse_args()
    train(given.seed, given.episodes).save(given.out)


if __name__ == "__main__":
    main()
