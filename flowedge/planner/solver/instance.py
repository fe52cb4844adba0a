"""The problem as arrays, for the default strategy: groups of cameras, and the choices of every stage.

A `Configuration` is an application under one setting. Its `Choices` list, for one stage, every node and service
that may run it, with its cost and time; label setting (`flowedge.planner.solver.label_setting`) chooses among
the rows of these tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from flowedge.planner.model.prediction import fixed_cost, service_costs
from flowedge.planner.model.problem import Application, Problem, Stage
from flowedge.planner.model.profiles import Service, Setting
from flowedge.planner.options.delays import Delays
from flowedge.planner.options.offers import least_remaining, settings

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]

PoolKey: TypeAlias = tuple[str, int, Service]
"""A pool, which is all replicas of a service on a node: its stage, the position of its node, its service."""

RESOURCES = ("cores", "gpu", "memory")


@dataclass(frozen=True)
class Choices:
    """The ways to run a stage, as columns of one table.

    `capacity` is the most frames a second of a replica (infinite where the stage costs nothing), `reserve` what
    a replica adds to the objective, `frame` what a frame adds beyond, `needs` (K x 3) a replica's resources.
    """

    nodes: Ints
    services: tuple[Service | None, ...]
    seconds: Floats
    capacity: Floats
    reserve: Floats
    frame: Floats
    needs: Floats

    def __len__(self) -> int:
        return len(self.services)

    @cached_property
    def kinds(self) -> tuple[tuple[Service | None, ...], Ints]:
        """The services that differ, and for each row which of them it is."""
        numbers: dict[Service | None, int] = {}
        rows = [numbers.setdefault(service, len(numbers)) for service in self.services]
        return tuple(numbers), np.array(rows, np.int64)

    @cached_property
    def row(self) -> dict[tuple[int, Service | None], int]:
        """Where each node and service is."""
        return {
            (int(node), service): at
            for at, (node, service) in enumerate(zip(self.nodes, self.services, strict=True))
        }


@dataclass(frozen=True)
class Configuration:
    """An application under a setting; stages, inputs and choices are in the order of the graph.

    `sizes` are the bytes of each stage's output, `follows_input` tells the stages that run where their first
    input does, and `rest[t][n]` is the least time from the result of stage t on node n to the last one behind
    it.
    """

    application: Application
    setting: Setting
    accuracy: float
    inputs: tuple[tuple[int, ...], ...]
    sizes: tuple[float, ...]
    follows_input: tuple[bool, ...]
    choices: tuple[Choices, ...]
    rest: tuple[Floats, ...]

    @property
    def size(self) -> int:
        """How many choices its stages have in all."""
        return sum(len(table) for table in self.choices)

    @cached_property
    def consumers(self) -> tuple[tuple[int, ...], ...]:
        """The stages that take each stage's output."""
        return tuple(
            tuple(at for at, inputs in enumerate(self.inputs) if stage in inputs)
            for stage in range(len(self.inputs))
        )

    def live(self, *, byte_prices: bool) -> list[tuple[int, ...]]:
        """After each stage, the stages whose place still matters to later ones.

        With `byte_prices` also those that were sent an output which goes elsewhere later: to their node it is
        free.
        """
        live_stages = []
        for now in range(len(self.inputs)):
            waiting = {
                stage for stage in range(now + 1) if any(consumer > now for consumer in self.consumers[stage])
            }
            if byte_prices:
                waiting |= {
                    consumer for stage in waiting for consumer in self.consumers[stage] if consumer <= now
                }
            live_stages.append(tuple(sorted(waiting)))
        return live_stages

    def admits(self, rate: float) -> tuple[NDArray[np.bool_] | None, ...]:
        """For keyed stages, which choices take a whole camera of this rate by one replica; None for all."""
        return tuple(
            choices.capacity * (1 + 1e-9) >= rate if stage.keyed else None
            for stage, choices in zip(self.application.stages, self.choices, strict=True)
        )


@dataclass(frozen=True)
class Group:
    """Camera classes with equal frame rates at one node for one application; to the strategy they are one."""

    application: str
    node: int
    rate: float
    cameras: int

    @property
    def load(self) -> float:
        """Frames a second of all its cameras."""
        return self.rate * self.cameras


def group_cameras(problem: Problem) -> tuple[list[Group], list[int]]:
    """The groups of a problem's classes, and the group of each class."""
    numbers: dict[tuple[str, int, float], int] = {}
    counts: list[int] = []
    of = []
    for camera in problem.classes:
        key = camera.application, problem.cluster.index[camera.node], problem.rates[camera.name]
        number = numbers.setdefault(key, len(numbers))
        if number == len(counts):
            counts.append(0)
        counts[number] += camera.count
        of.append(number)
    return [Group(*key, count) for key, count in zip(numbers, counts, strict=True)], of


def configurations(problem: Problem, delays: Delays) -> dict[str, tuple[Configuration, ...]]:
    """The settings worth a look of each application."""
    by_application = {}
    used = {camera.application for camera in problem.classes}
    for application in problem.applications:
        if application.name in used:
            able = []
            for chosen in settings(problem, application):
                configuration = _configuration(problem, application, chosen, delays)
                if all(map(len, configuration.choices)):
                    able.append(configuration)
            by_application[application.name] = tuple(able)
    return by_application


def _configuration(
    problem: Problem, application: Application, chosen: Setting, delays: Delays
) -> Configuration:
    names = [stage.name for stage in application.stages]
    inputs = tuple(tuple(names.index(name) for name in stage.inputs) for stage in application.stages)
    follow = tuple(problem.follows_input(stage) for stage in application.stages)
    accuracy = problem.profiles.accuracy(chosen) or 0.0
    sizes = tuple(problem.profiles.bytes_of(name, chosen) for name in names)
    choices = tuple(_choices(problem, stage, chosen) for stage in application.stages)
    own = [_quickest(len(delays.fixed), table) for table in choices]
    rest = tuple(least_remaining(inputs, follow, own, lambda stage: delays.seconds(sizes[stage])))
    return Configuration(application, chosen, accuracy, inputs, sizes, follow, choices, rest)


def _choices(problem: Problem, stage: Stage, chosen: Setting) -> Choices:
    nodes = problem.cluster.nodes
    able = [at for at, node in enumerate(nodes) if stage.source or stage.tier in (None, node.tier)]
    if problem.profiles.free(stage.name):
        none = np.zeros(len(able))
        everything = np.full(len(able), np.inf)
        return Choices(
            np.array(able, np.int64),
            (None,) * len(able),
            none,
            everything,
            none,
            none,
            np.zeros((len(able), 3)),
        )
    services = problem.profiles.undominated(stage.name, chosen)
    pairs = [(at, service) for at in able for service in services if service.fits_on(nodes[at])]
    costs = [service_costs(problem, nodes[at], service) for at, service in pairs]
    return Choices(
        np.array([at for at, _ in pairs], np.int64),
        tuple(service for _, service in pairs),
        np.array([service.seconds for _, service in pairs]),
        np.array([problem.utilisation * service.rate for _, service in pairs]),
        np.array([reserve for reserve, _ in costs]),
        np.array([frame for _, frame in costs]),
        np.array([[getattr(service, what) for what in RESOURCES] for _, service in pairs]).reshape(-1, 3),
    )


def _quickest(count: int, choices: Choices) -> Floats:
    """By node, of so many, the least time of a choice there; infinite where there is none."""
    seconds = np.full(count, np.inf)
    np.minimum.at(seconds, choices.nodes, choices.seconds)
    return seconds


def fixed_costs(problem: Problem) -> Floats:
    """By node, what it adds to the objective as soon as it has a replica."""
    return np.array([fixed_cost(problem, node) for node in problem.cluster.nodes], float)


def arcs_used(problem: Problem, configuration: Configuration, nodes: Sequence[int]) -> list[tuple[int, float]]:
    """The arcs that a frame goes over, and its bytes there; an output is sent to a node only once."""
    cluster = problem.cluster
    used, sent = [], set()
    for stage, inputs in enumerate(configuration.inputs):
        for name in inputs:
            start, end, size = nodes[name], nodes[stage], configuration.sizes[name]
            if size and start != end and (name, end) not in sent:
                sent.add((name, end))
                path = cluster.path(cluster.nodes[start].name, cluster.nodes[end].name) or ()
                used += [(arc, size) for arc in path]
    return used
