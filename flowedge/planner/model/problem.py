"""A planning problem: applications with their goals, their cameras, profiles, and the cluster they may use.

>>> pipeline = Application(
...     "people",
...     (Stage("video", source=True), Stage("Detect", ("video",)), Stage("Null", ("Detect",))),
...     knobs=(("size", (416, 640)),),
...     latency=0.25,
... )
>>> [dict(chosen) for chosen in pipeline.settings()]
[{'size': 416}, {'size': 640}]
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias

from flowedge.errors import ConfigError
from flowedge.planner.model.cluster import Cluster
from flowedge.planner.model.profiles import Profiles, Setting
from flowedge.values import Scalar

Objective: TypeAlias = Literal["energy", "resources", "cost", "utility"]


@dataclass(frozen=True, slots=True)
class Stage:
    """One operator as the planner sees it.

    `inputs` are the stages that feed it. A `source` runs where its camera is. `keyed` stages keep state by
    camera: all frames of one camera go to one replica. A `singleton` runs once in the whole cluster. `tier`
    pins it. A stage that costs nothing by the profiles runs where its first input does.
    """

    name: str
    inputs: tuple[str, ...] = ()
    source: bool = False
    keyed: bool = False
    singleton: bool = False
    tier: str | None = None


@dataclass(frozen=True)
class Application:
    """A graph with its goals: `latency` in seconds from capture to result, `throughput` in frames a second for
    each camera (its own rate if None), `accuracy` (0..1) at least.
    """

    name: str
    stages: tuple[Stage, ...]
    knobs: tuple[tuple[str, tuple[Scalar, ...]], ...] = ()
    latency: float = float("inf")
    throughput: float | None = None
    accuracy: float = 0.0

    def __post_init__(self) -> None:
        earlier: set[str] = set()
        for stage in self.stages:
            for name in stage.inputs:
                if name not in earlier:
                    raise ConfigError(f"{self.name}.{stage.name}: its input {name!r} is no stage before it")
            if stage.name in earlier:
                raise ConfigError(f"{self.name}: two stages are named {stage.name!r}")
            if stage.source == bool(stage.inputs):
                raise ConfigError(
                    f"{self.name}.{stage.name}: a source has no inputs, every other stage has some"
                )
            earlier.add(stage.name)

    def settings(self) -> Iterator[Setting]:
        """Every combination of the knobs' values."""
        names = sorted(name for name, _ in self.knobs)
        values = dict(self.knobs)
        for combination in itertools.product(*(values[name] for name in names)):
            yield tuple(zip(names, combination, strict=True))


@dataclass(frozen=True, slots=True)
class CameraClass:
    """`count` equal cameras at one node that run one application: `fps` frames a second each."""

    name: str
    application: str
    node: str
    fps: float
    count: int = 1


@dataclass(frozen=True)
class Problem:
    """Everything that a strategy is given.

    What is to `minimize` within the goals: "energy" in watts, "resources" as the sum of the nodes' shares that
    are reserved, "cost" as price x share, or "utility", which is `theta` x latency - accuracy, summed over the
    cameras. `utilisation` (0..1) bounds the load of every replica, and so the wait in front of it; `certainty`
    is the number of standard deviations of the links' delay that a latency goal allows for.
    """

    cluster: Cluster
    applications: tuple[Application, ...]
    classes: tuple[CameraClass, ...]
    profiles: Profiles
    minimize: Objective = "energy"
    theta: float = 0.0
    utilisation: float = 0.8
    certainty: float = 2.0

    def __post_init__(self) -> None:
        self._check_names()
        names = {application.name for application in self.applications}
        for camera_class in self.classes:
            if camera_class.application not in names:
                raise ConfigError(
                    f"cameras {camera_class.name}: there is no application {camera_class.application!r}"
                )
            if camera_class.node not in self.cluster.index:
                raise ConfigError(f"cameras {camera_class.name}: there is no node {camera_class.node!r}")
            if not (camera_class.fps > 0 and camera_class.count >= 1):
                raise ConfigError(
                    f"cameras {camera_class.name}: at least 1 camera with a frame rate above 0 is needed, "
                    f"not {camera_class.count} at {camera_class.fps:g}"
                )
        for application in self.applications:
            for stage in application.stages:
                if stage.tier is not None and stage.tier not in self.cluster.tiers:
                    raise ConfigError(
                        f"{application.name}.{stage.name}: tier {stage.tier!r} is none of "
                        f"{', '.join(self.cluster.tiers)}"
                    )
        if not 0 < self.utilisation < 1:
            raise ConfigError(f"utilisation: {self.utilisation!r} is not a share above 0 and below 1")

    def _check_names(self) -> None:
        """Names tell things apart; operators of one name are one, so they agree in what may be replicated."""
        for field, names in (
            ("applications", [application.name for application in self.applications]),
            ("cameras", [camera_class.name for camera_class in self.classes]),
        ):
            twice = [name for name, count in Counter(names).items() if count > 1]
            if twice:
                raise ConfigError(f"{field}: two are named {twice[0]!r}; every name must be another one")
        seen: dict[str, tuple[str, Stage]] = {}
        for application in self.applications:
            for stage in application.stages:
                owner, other = seen.setdefault(stage.name, (application.name, stage))
                if (stage.keyed, stage.singleton) != (other.keyed, other.singleton):
                    raise ConfigError(
                        f"{application.name}.{stage.name}: is keyed or a singleton otherwise than in {owner}; "
                        f"give it another name"
                    )

    @cached_property
    def camera_classes(self) -> dict[str, CameraClass]:
        """The camera classes by name."""
        return {camera_class.name: camera_class for camera_class in self.classes}

    @cached_property
    def rates(self) -> dict[str, float]:
        """Frames a second that each camera of a class sends through its graph, by name of the class."""
        rates = {}
        for camera_class in self.classes:
            wanted = self.application(camera_class.application).throughput
            rates[camera_class.name] = camera_class.fps if wanted is None else min(camera_class.fps, wanted)
        return rates

    @property
    def latency_counts(self) -> bool:
        """Whether latency is a part of what is minimised, beside any goal for it."""
        return self.minimize == "utility" and self.theta > 0

    def follows_input(self, stage: Stage) -> bool:
        """Whether a stage costs nothing and so runs where its first input does."""
        return not stage.source and stage.tier is None and self.profiles.free(stage.name)

    def application(self, name: str) -> Application:
        """The application of this name."""
        return next(application for application in self.applications if application.name == name)
