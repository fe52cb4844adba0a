"""Which nodes and offers a stage can have at all if its frames are to be in time."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from flowedge.planner.model.problem import Application, CameraClass, Problem, Stage
from flowedge.planner.model.profiles import Service, Setting
from flowedge.planner.options.delays import Delays
from flowedge.planner.options.offers import Offer, hosts, offers

StageOptions: TypeAlias = dict[str, list[tuple[int, Offer | None]]]
"""By stage, the nodes (as positions) and offers that it may have; without stages that follow their input."""

Seconds: TypeAlias = NDArray[np.float64]
"""One for each node."""


@dataclass(frozen=True)
class TimedOptions:
    """`options` that are in time, and seconds by stage and node.

    `earliest` is when the stage can be done there, `remaining` the least time from its inputs' arrival there to
    the end of the graph.
    """

    options: StageOptions
    earliest: dict[str, Seconds]
    remaining: dict[str, Seconds]


_ROUNDING = 1e-9  # share of a goal


def follows_input(problem: Problem, stage: Stage) -> bool:
    """Whether a stage costs nothing and so runs where its first input does."""
    return not stage.source and stage.tier is None and problem.profiles.free(stage.name)


def options_in_time(
    problem: Problem, camera: CameraClass, chosen: Setting, delays: Delays, *, waits: bool = True
) -> TimedOptions | None:
    """The nodes and offers of each stage with which the quickest assignment of all others is in time.

    Without `waits` nobody waits for a replica, which no plan can better. None where no
    assignment is in time.
    """
    application = problem.application(camera.application)
    found: StageOptions = {}
    for stage in application.stages:
        if not follows_input(problem, stage):
            able = hosts(problem, camera, stage, chosen)
            made = {service: _offers(problem, application, service, waits) for _, service in able}
            found[stage.name] = [(node, offer) for node, service in able for offer in made[service]]
    kept = _in_time(problem, application, chosen, delays, found)
    return kept if all(kept.options.values()) else None


def latency_matters(problem: Problem, application: Application) -> bool:
    """Whether latency matters at all."""
    return application.latency < math.inf or (problem.minimize == "utility" and problem.theta > 0)


def _offers(
    problem: Problem, application: Application, service: Service | None, waits: bool
) -> Sequence[Offer | None]:
    if service is None:
        return (None,)
    made = offers(problem, service)
    if not waits:
        return (replace(made[0], wait=0.0),)
    return made if latency_matters(problem, application) else made[:1]


def _in_time(
    problem: Problem, application: Application, chosen: Setting, delays: Delays, found: StageOptions
) -> TimedOptions:
    own: dict[str, Seconds] = {}
    for stage in application.stages:
        if stage.name in found:
            own[stage.name] = _quickest(len(problem.cluster.nodes), found[stage.name])
        else:
            own[stage.name] = np.where(np.isfinite(own[stage.inputs[0]]), 0.0, np.inf)
    sent = {
        stage.name: delays.seconds(problem.profiles.bytes_of(stage.name, chosen))
        for stage in application.stages
    }
    ready = _ready(problem, application, own, sent)
    names = [stage.name for stage in application.stages]
    remaining = least_remaining(
        [[names.index(name) for name in stage.inputs] for stage in application.stages],
        [follows_input(problem, stage) for stage in application.stages],
        [own[name] for name in names],
        lambda stage: sent[names[stage]],
    )
    after = dict(zip(names, remaining, strict=True))
    limit = application.latency * (1 + _ROUNDING)
    kept = {
        name: [
            (node, offer)
            for node, offer in able
            if ready[name][node] + (offer.seconds if offer else 0.0) + after[name][node] <= limit
            and ready[name][node] + after[name][node] < math.inf
        ]
        for name, able in found.items()
    }
    done = {name: ready[name] + own[name] for name in own}
    return TimedOptions(kept, done, {name: after[name] + own[name] for name in own})


def _quickest(count: int, able: Sequence[tuple[int, Offer | None]]) -> Seconds:
    least = np.full(count, np.inf)
    for node, offer in able:
        least[node] = min(least[node], offer.seconds if offer else 0.0)
    return least


def _ready(
    problem: Problem, application: Application, own: Mapping[str, Seconds], sent: Mapping[str, Seconds]
) -> dict[str, Seconds]:
    """For each stage and node, the earliest time at which all inputs can be there."""
    ready: dict[str, Seconds] = {}
    done: dict[str, Seconds] = {}
    for stage in application.stages:
        came = np.zeros(len(problem.cluster.nodes))
        for position, name in enumerate(stage.inputs):
            stays = position == 0 and follows_input(problem, stage)
            came = np.maximum(came, done[name] if stays else (done[name][:, None] + sent[name]).min(axis=0))
        ready[stage.name] = came
        done[stage.name] = came + own[stage.name]
    return ready


def least_remaining(
    inputs: Sequence[Sequence[int]],
    follows: Sequence[bool],
    own: Sequence[Seconds],
    sent: Callable[[int], NDArray[np.float64]],
) -> list[Seconds]:
    """By stage and node, the least seconds from the stage's result there to the last one that depends on it.

    By stage, in topological order, `inputs` are the positions of the stages before it, `follows` whether it
    runs where its first input does, `own` the least a frame spends on each node; `sent` gives the seconds that
    a stage's output takes from node to node.
    """
    after = [np.zeros(len(each)) for each in own]
    for stage in reversed(range(len(inputs))):
        rest = after[stage] + own[stage]
        for position, name in enumerate(inputs[stage]):
            stays = position == 0 and follows[stage]
            after[name] = np.maximum(after[name], rest if stays else (sent(name) + rest).min(axis=1))
    return after
