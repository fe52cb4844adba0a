"""Trains ASET's network: `python tools/train_aset.py --seed 0`; `--evaluate` compares policies instead.

Double DQN with replay (Mnih et al. 2013; van Hasselt et al. 2016) in numpy, over episodes of
`aset_constants`. The environment binds streams with the very policy objects of `flowedge.dispatch` and counts a
window's successes by the tail of the wait of periodic streams in heavy traffic (as `prices.py` does), which is
much faster than to simulate every query.
"""

from __future__ import annotations

import argparse
import heapq
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from flowedge.dispatch import POLICIES, DispatchPolicy, Request, Workers, make
from flowedge.dispatch import aset_constants as constants
from flowedge.dispatch.aset import ACTIONS, FEATURES, WEIGHTS, Aset
from flowedge.dispatch.dense import DenseNetwork
from flowedge.dispatch.workers import Floats

TRAINED_ON = "dc-cloud", "full-edge"
"""The third topology, co-dc-cloud, is left for evaluation."""


def workers_of(sites: tuple[constants.Site, ...]) -> Workers:
    """The workers of a topology; every variant serves every application (all detect objects)."""
    rows = [
        (number, site, constants.VARIANTS[name])
        for number, site in enumerate(sites)
        for name, replicas in site.workers
        for _ in range(replicas)
    ]
    applications = len(constants.APPLICATIONS)
    return Workers.idle(
        tier=[site.tier for _, site, _ in rows],
        delay=[site.delay for _, site, _ in rows],
        service=np.tile([variant.seconds for *_, variant in rows], (applications, 1)),
        accuracy=np.tile([variant.accuracy for *_, variant in rows], (applications, 1)),
        capacity=[variant.capacity for *_, variant in rows],
        cluster=[number for number, *_ in rows],
        deviation=[site.deviation for _, site, _ in rows],
        slots=[variant.slots for *_, variant in rows],
    )


def request_at(time: float, number: int, rng: np.random.Generator) -> Request:
    """A random client's stream."""
    shares = [application.share for application in constants.APPLICATIONS]
    kind = int(rng.choice(len(shares), p=shares))
    application = constants.APPLICATIONS[kind]
    return Request(
        application=kind,
        deadline=rng.uniform(*application.deadline),
        bytes=rng.uniform(*application.bytes),
        stream=number,
        arrival=time,
        rate=rng.uniform(*application.rate),
        accuracy=application.accuracy,
        access=rng.exponential(constants.ACCESS),
        bitrate=constants.BITRATE,
    )


@dataclass
class Environment:
    """One antenna's scheduler over one topology, window by window."""

    workers: Workers
    clients: Callable[[float], float]
    """Clients per minute at a time."""
    seed: int
    variability: float = 0.5
    time: float = 0.0
    _number: int = 0
    _ends: list[tuple[float, int, Request, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.arrivals = np.random.default_rng([self.seed, 0])
        self.choices = np.random.default_rng([self.seed, 1])

    def window(self, policy: DispatchPolicy, seconds: float = constants.WINDOW) -> Floats:
        """Runs one window. Queries that (succeeded, failed, were rejected)."""
        until, queries = self.time + seconds, np.zeros(3)
        gap = 60 / self.clients(self.time)
        after = self.time + self.arrivals.exponential(gap)
        while after < until:
            self._leave(policy, after)
            request = request_at(after, self._number, self.arrivals)
            lifetime = self.arrivals.exponential(constants.LIFETIME)
            self._number += 1
            worker = policy.choose(request, self.workers, self.choices)
            if worker is None:
                queries[2] += request.rate * lifetime
            else:
                self._bind(worker, request, 1)
                heapq.heappush(self._ends, (after + lifetime, request.stream, request, worker))
            after += self.arrivals.exponential(gap)
        self._leave(policy, until)
        self.time = until
        queries[:2] = self._answers(policy, seconds)
        policy.window(self.workers, self.choices)
        return queries

    def _leave(self, policy: DispatchPolicy, now: float) -> None:
        while self._ends and self._ends[0][0] <= now:
            _, _, request, worker = heapq.heappop(self._ends)
            self._bind(worker, request, -1)
            policy.ended(request, worker)

    def _bind(self, worker: int, request: Request, sign: int) -> None:
        workers = self.workers
        workers.load[worker] += sign * request.rate
        workers.streams[worker] += sign
        busy = min(workers.load[worker] / workers.capacity[worker], 1.0)
        workers.in_flight[worker] = busy * workers.slots[worker]

    def _answers(self, policy: DispatchPolicy, seconds: float) -> Floats:
        """Queries of the bound streams that were in time, and those that were late."""
        if not self._ends:
            return np.zeros(2)
        workers = self.workers
        at = np.array([worker for *_, worker in self._ends])
        rate = np.array([request.rate for _, _, request, _ in self._ends])
        slack = np.array(
            [request.budget - workers.reach[request.application, w] for *_, request, w in self._ends]
        )
        busy = np.minimum(workers.load / workers.capacity, 1.0)[at]
        others = np.maximum(workers.load[at] - rate, 0) / workers.capacity[at]
        ahead = np.maximum(slack, 0) * workers.capacity[at]
        decay = (1 - busy) * ahead / self.variability + 2 * ahead**2 / np.maximum(workers.streams[at] - 1, 1)
        late = np.where(slack >= 0, others ** workers.crowding[at] * np.exp(-decay), 1.0)
        if isinstance(policy, Aset):
            answers = np.bincount(at, rate, len(workers)) * seconds
            for worker in answers.nonzero()[0]:
                policy.observer.answered(int(worker), workers, float(answers[worker]))
        return np.array([(rate * (1 - late)).sum(), (rate * late).sum()]) * seconds


def scattered(sites: tuple[constants.Site, ...], rng: np.random.Generator) -> Workers:
    """A topology with sites left out at random (two stay at least), other delays and other capacities, so that
    the agent does not learn one by heart; what is left has 0.8 to 1.25 times the capacity of the whole."""
    whole = workers_of(sites).capacity.sum()
    stay = rng.random(len(sites)) < 0.7
    stay[rng.choice(len(sites), 2, replace=False)] = True
    workers = workers_of(tuple(site for site, kept in zip(sites, stay, strict=True) if kept))
    factor = rng.uniform(0.7, 1.4, int(workers.cluster.max()) + 1)[workers.cluster]
    workers.delay *= factor
    workers.deviation *= factor
    workers.capacity *= whole / workers.capacity.sum() * rng.uniform(0.8, 1.25)
    workers.refresh()
    return workers


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
        self.first = [np.zeros_like(parameter) for parameter in self.parameters]
        self.second = [np.zeros_like(parameter) for parameter in self.parameters]
        self.target = self.network()

    def network(self, note: str = "") -> DenseNetwork:
        """The network as it is now."""
        depth = len(self.sizes) - 1
        copies = [parameter.copy() for parameter in self.parameters]
        return DenseNetwork(tuple(copies[:depth]), tuple(copies[depth:]), note)

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


def reward_of(queries: Floats) -> float:
    """1 - failed - rejected, as shares of the window's queries."""
    return float(queries[0] / queries.sum()) if queries.sum() else 1.0


def train(seed: int, episodes: int) -> DenseNetwork:
    """The trained network; prints the mean reward of every 20 episodes."""
    rng = np.random.default_rng(seed)
    learner = Learner((constants.HISTORY * FEATURES, *constants.HIDDEN, len(ACTIONS)), rng)
    memory: list[tuple[Floats, int, float, Floats, float]] = []
    rewards: list[float] = []
    start, end = constants.EXPLORATION
    for episode in range(episodes):
        epsilon = max(end, start + (end - start) * episode / (0.6 * episodes))
        learner.rate = constants.LEARNING_RATE * (1 - 0.95 * episode / episodes)
        sites = constants.TOPOLOGIES[TRAINED_ON[episode % len(TRAINED_ON)]]
        rewards.append(_episode(learner, scattered(sites, rng), epsilon, memory, rng))
        if episode % 20 == 19:
            print(
                f"episode {episode + 1:4}  epsilon {epsilon:.2f}  reward {np.mean(rewards[-20:]):.4f}",
                flush=True,
            )
    return learner.network(
        f"python tools/train_aset.py --seed {seed} --episodes {episodes}; lambda {constants.LAMBDA:g}, "
        f"topologies {', '.join(TRAINED_ON)}; windowed queueing environment of that file"
    )


def _episode(
    learner: Learner,
    workers: Workers,
    epsilon: float,
    memory: list[tuple[Floats, int, float, Floats, float]],
    rng: np.random.Generator,
) -> float:
    agent = Explorer(network=learner.network())
    environment = Environment(workers, lambda _: constants.LAMBDA, int(rng.integers(2**31)))
    environment.window(agent)
    state, rewards = agent.state, []
    while environment.time < constants.HORIZON:
        agent.action = int(learner.network()(state).argmax())
        if rng.random() < epsilon:
            agent.action = int(rng.integers(len(ACTIONS)))
        reward = reward_of(environment.window(agent))
        rewards.append(reward)
        over = reward < constants.THRESHOLD and len(rewards) > constants.PATIENCE
        memory.append((state, agent.action, reward, agent.state, 0.0 if over else 1.0))
        del memory[: -constants.REPLAY]
        state = agent.state
        if len(memory) >= 5 * constants.BATCH:
            for _ in range(2):
                picked = [memory[i] for i in rng.integers(len(memory), size=constants.BATCH)]
                learner.learn(*(np.array(column) for column in zip(*picked, strict=True)))
        if over:
            break
    return float(np.mean(rewards))


def success(name: str, topology: str, clients: Callable[[float], float], seed: int) -> float:
    """The share of an episode's queries that succeed, without the first minute, while streams fill up."""
    policy = make(name)
    environment = Environment(workers_of(constants.TOPOLOGIES[topology]), clients, seed)
    total = np.zeros(3)
    while environment.time < constants.HORIZON:
        queries = environment.window(policy)
        total += queries * (environment.time > 60)
    return reward_of(total)


def evaluate(seeds: int) -> None:
    """Prints mean successes (%) of every policy, by topology and clients per minute."""
    rates: dict[str, Callable[[float], float]] = {
        "40": lambda _: 40.0,
        "60": lambda _: 60.0,
        "100": lambda _: 100.0,
        "40-100": lambda time: 70 + 30 * math.sin(2 * math.pi * time / 300),
    }
    columns = [(topology, rate) for topology in constants.TOPOLOGIES for rate in rates]
    print(f"{'':28}" + "".join(f"{topology[:11] + ' ' + rate:>19}" for topology, rate in columns))
    for name in POLICIES:
        means = [
            np.mean([success(name, topology, rates[rate], 1000 + seed) for seed in range(seeds)])
            for topology, rate in columns
        ]
        print(f"{name:28}" + "".join(f"{100 * mean:19.2f}" for mean in means), flush=True)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--episodes", type=int, default=constants.EPISODES)
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    parser.add_argument("--evaluate", type=int, metavar="SEEDS", help="compare all policies and train nothing")
    given = parser.parse_args()
    if given.evaluate:
        evaluate(given.evaluate)
    else:
        train(given.seed, given.episodes).save(given.out)


if __name__ == "__main__":
    main()
