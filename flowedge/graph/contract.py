"""What an operator promises: the five kinds of step that a graph is made of.

A step is a dataclass whose init fields are its configuration, checked when it is built. A running replica
works on its own copy: `setup` may set attributes declared `field(init=False)` and `close` releases them.
"""

from __future__ import annotations

import inspect
import itertools
import re
import threading
import types
import typing
from abc import ABC, ABCMeta, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeAlias, TypeVar

from flowedge.errors import ConfigError
from flowedge.graph.knobs import Choice, nested
from flowedge.graph.per_camera import check_names
from flowedge.secrets import redact

In = TypeVar("In", contravariant=True)
Out = TypeVar("Out", covariant=True)


NAME = "a name of letters, digits, '_', '-' and '.', not beginning with '.'"
"""What `valid_name` accepts, for messages."""

Plain: TypeAlias = Any
"""What a snapshot is made of: None, bool, int, float, str, bytes, numpy arrays of numbers or of bool, and lists
of these and mappings of str to them, nested as you like. Tuples count as lists and come back as lists."""


class State(Enum):
    """What an operator remembers from frame to frame, which says how it may be replicated."""

    NONE = "none"
    PER_CAMERA = "per camera"
    PER_TILE = "per tile"
    GLOBAL = "of all cameras"


class StepMeta(ABCMeta):
    """Builds a step: resolves knobs, names it after its class, checks every variant."""

    @property
    def __signature__(cls) -> inspect.Signature:
        """What a caller writes, with types and defaults, for `inspect.signature`, editors and notebooks."""
        parameters = dict(_parameters(cls))
        parameters.pop("knobs", None)
        if "name" in parameters:
            parameters["name"] = parameters["name"].replace(default=cls.__name__)
        try:
            hints = typing.get_type_hints(cls)
        except (NameError, AttributeError, TypeError):  # an annotation that exists for type checkers only
            hints = {}
        return inspect.Signature(
            [item.replace(annotation=hints.get(name, item.annotation)) for name, item in parameters.items()]
        )

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        kept = kwargs.pop("knobs", {})  # what `dataclasses.replace` hands on
        if not kept and not any(isinstance(value, Choice) for value in (*args, *kwargs.values())):
            return cls._built(args, kwargs, {})
        given = inspect.Signature(list(_parameters(cls).values())).bind(*args, **kwargs).arguments
        knobs = {name: value for name, value in given.items() if isinstance(value, Choice)}
        for name, choice in kept.items():
            if name in given and name not in knobs and given[name] == choice.values[0]:
                knobs[name] = choice
        variants = [cls._built((), given | values, knobs) for values in _settings_of(cls.__name__, knobs)]
        return variants[0]

    def _built(cls, args: tuple[Any, ...], kwargs: Mapping[str, Any], knobs: Mapping[str, Choice[Any]]) -> Any:
        for value in (*args, *kwargs.values()):
            if (choice := nested(value)) is not None:
                raise ConfigError(
                    f"{cls.__name__}: {redact(repr(choice))} stands inside a {type(value).__name__}: "
                    f'a knob is a whole field, e.g. choose("{choice.name}", (416, 416), (512, 288))'
                )
        names = {"name": kwargs.get("name") or cls.__name__} if "name" in _parameters(cls) else {}
        step = super().__call__(*args, **{**kwargs, **names})
        step.name = step.name or cls.__name__  # of an author's own __init__
        step.knobs = knobs
        step.require("name", valid_name(step.name), NAME)
        return step


def _parameters(cls: type) -> Mapping[str, inspect.Parameter]:
    """The parameters of a class's `__init__`, without `self`."""
    (_, *parameters) = inspect.signature(cls.__init__).parameters.values()  # type: ignore[misc]
    return {parameter.name: parameter for parameter in parameters}


@dataclass
class Step(metaclass=StepMeta):
    """Base of the five kinds; `name` keys topics, metrics and checkpoints and defaults to the class name."""

    state: ClassVar[State] = State.NONE
    per_camera: ClassVar[tuple[str, ...]] = ()
    """The fields that may be a mapping of values by camera name; one without a default names every camera."""

    if TYPE_CHECKING:
        name: str
        knobs: Mapping[str, Choice[Any]] = field(init=False, repr=False)
        """What a planner may choose, by the name of the field."""
    else:  # an argument that callers never write: `dataclasses.replace` hands it on and the metaclass takes it
        knobs: Mapping[str, Choice[Any]] = field(default_factory=dict, kw_only=True, repr=False)

    def __post_init__(self) -> None:
        """Check the configuration; an operator that overrides this calls it first."""
        try:
            hints = typing.get_type_hints(type(self))
        except NameError:  # an annotation that exists for type checkers only
            return
        for item in fields(self):
            if item.init and not _fits(getattr(self, item.name), hints[item.name]):
                wanted = str(item.type).removeprefix("<class '").removesuffix("'>")
                self.require(item.name, False, f"a value of type {wanted}")

    def require(self, name: str, holds: bool, wanted: str) -> None:
        """Raise `ConfigError` naming the field, its value and what is `wanted` unless the condition holds."""
        if not holds:
            shown = redact(repr(getattr(self, name)))  # it may be an address with a password
            raise ConfigError(f"{type(self).__name__}.{name}: {shown} is not {wanted}")

    def check_cameras(self, cameras: Collection[str]) -> None:
        """Raise `ConfigError` where a setting by camera does not fit these, whose frames the step will see."""
        for item in fields(self):
            if item.name in self.per_camera and isinstance(setting := getattr(self, item.name), Mapping):
                complete = item.default is MISSING and item.default_factory is MISSING
                check_names(f"{self.name}.{item.name}", setting, cameras, complete=complete)

    def setup(self) -> None:
        """Load what the operator needs to run; called once in each replica before the first value."""

    def close(self) -> None:
        """Release what `setup` took; called once, whatever happened."""

    def notes(self) -> Mapping[str, int]:
        """How often it had to do something that a user should know of, by what that is; asked at any time."""
        return {}

    @property
    def has_snapshot(self) -> bool:
        """Whether a camera's state can move to another copy: the class defines `snapshot` and `restore`."""
        cls = type(self)
        return cls.snapshot is not Step.snapshot and cls.restore is not Step.restore

    def snapshot(self, camera: str) -> Plain | None:  # noqa: ARG002
        """The state of one camera as plain data (`Plain`); None where nothing is kept of it.

        Called between two values, in the thread that calls `process`. The result shares no memory with the
        running copy, which goes on.
        """
        return None

    def restore(self, camera: str, state: Plain) -> None:
        """Take over what another copy's `snapshot` gave, in place of anything kept of this camera.

        Called after `setup` and before the camera's next value, from which on the results are those that the
        other copy would have given. `state` may be read-only and belongs to the caller: copy what you keep.
        Raises `StateError`, and changes nothing, for what is no state of this operator.
        """
        raise NotImplementedError(f"{type(self).__name__} has no restore")

    def renumber(self, camera: str, epoch: int) -> None:
        """Give out identities from now on that no copy gave out in an earlier epoch of the run.

        Called after `restore`, or in its place where there is no state, when another copy took frames after
        that state and is gone. A step that gives out no identities has nothing to do.
        """


@dataclass(frozen=True)
class Detached:
    """What a source gives when a camera has no picture to give: why, in a sentence, while it tries again."""

    reason: str


@dataclass
class Source(Step, Generic[Out], ABC):
    """Where streams begin: one per entry of `cameras`, a mapping of camera name to address."""

    cameras: Mapping[str, str] = field(repr=False)
    name: str = field(default="", kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        for camera in self.cameras:
            if not valid_name(camera):
                raise ConfigError(f"{type(self).__name__}.cameras: {camera!r} is not {NAME}")

    def live(self, camera: str) -> bool:  # noqa: ARG002
        """Whether the newest frame matters more than every frame (a camera, rather than a file)."""
        return False

    @abstractmethod
    def read(self, camera: str, stop: threading.Event) -> Iterator[Out | Detached]:
        """Yield the camera's values until it ends or `stop` is set; raises `SourceError`.

        Every value's origin counts a frame `index` from 0 that never repeats. Without a `monotonic` capture
        time, latency counts from when the value was given. `Detached` among the values tells of a camera that
        is not attached.
        """


@dataclass
class Operator(Step, Generic[In, Out], ABC):
    """One value in, one value out, or None where the value is filtered out.

    An operator that keeps something between frames declares `state`. With `snapshot` and `restore` a camera's
    part of it goes along when the camera is moved to another copy; without them (`has_snapshot` is False) the
    camera begins anew there:

    >>> from flowedge import Detections, Event, Origin
    >>> @dataclass
    ... class CountAll(Operator[Detections, Event]):
    ...     state = State.PER_CAMERA
    ...     _counts: dict[str, int] = field(init=False, repr=False, default_factory=dict)
    ...
    ...     def process(self, found: Detections, /) -> Event:
    ...         camera = found.origin.camera
    ...         self._counts[camera] = self._counts.get(camera, 0) + len(found)
    ...         return Event(found.origin, "counts", {"objects": self._counts[camera]})
    ...
    ...     def flush(self, camera: str) -> Iterable[Event]:
    ...         self._counts.pop(camera, None)
    ...         return ()
    ...
    ...     def snapshot(self, camera: str) -> Plain | None:
    ...         return {"count": self._counts[camera]} if camera in self._counts else None
    ...
    ...     def restore(self, camera: str, state: Plain) -> None:
    ...         self._counts[camera] = state["count"]
    >>> old, new = CountAll(), CountAll()
    >>> for index in range(3):
    ...     found = Detections(Origin("north", index=index), [[0, 0, 9, 9]], [0.9], [0])
    ...     told = old.process(found)
    >>> new.restore("north", old.snapshot("north"))
    >>> told.data["objects"], new.process(found).data["objects"], new.has_snapshot
    (3, 4, True)
    """

    delayed: ClassVar[bool] = False
    """Results may come later than their input and are matched to it by their origin; None means not yet."""

    batch: ClassVar[int] = 1
    """The most values that `process_batch` takes at once."""

    name: str = field(default="", kw_only=True)

    @abstractmethod
    def process(self, value: In, /) -> Out | None:
        """The result for one value. Never changes the value it is given."""

    def process_batch(self, values: Sequence[In], /) -> Sequence[Out | None]:
        """The results for several values at once (frames of several cameras, tiles of a frame), in order."""
        return [self.process(value) for value in values]

    def flush(self, camera: str) -> Iterable[Out]:  # noqa: ARG002
        """Forget the camera's state: its stream has ended. Called in every operator.

        A `delayed` operator gives what it still holds back. Of any other, every value has had its answer, so
        what it gives here belongs to no frame: it is discarded, which the run logs as an error.
        """
        return ()


@dataclass
class Split(Step, Generic[In, Out], ABC):
    """One value in, several parts out, for a `Gather` to bring together again."""

    name: str = field(default="", kw_only=True)

    @abstractmethod
    def split(self, value: In, /) -> Sequence[Out]:
        """The parts of one value; at least one."""


@dataclass
class Gather(Step, Generic[In, Out], ABC):
    """The parts of one value in, one value out.

    On a live stream it waits at most `deadline` seconds from the first part; what is missing then is noted in
    the result's `missing`. On a file it waits for every part.
    """

    deadline: float = field(default=1.0, kw_only=True)
    name: str = field(default="", kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("deadline", self.deadline > 0, "a number of seconds above 0")

    @abstractmethod
    def gather(self, parts: Sequence[In], /) -> Out:
        """One value from the parts that came, in the order in which they were split."""


@dataclass
class Sink(Step, Generic[In], ABC):
    """Where a stream ends; `path_field` names the field that says what files it writes, if it does."""

    path_field: ClassVar[str | None] = None

    name: str = field(default="", kw_only=True)

    @abstractmethod
    def write(self, value: In, /) -> None:
        """Take one value; values of a camera come in order."""

    def end(self, camera: str) -> None:
        """The camera's stream has ended: finish its file."""

    def written(self) -> Sequence[Path]:
        """The files written so far, for the summary of a run."""
        return ()

    def summary(self) -> Sequence[str]:
        """What it found out, in a few lines for the end of a run; asked when everything has been written."""
        return ()

    def measured_accuracy(self) -> tuple[float, str] | None:
        """The accuracy (0..1) of what was written, and its measure, where it knows the truth; for profiles."""
        return None


def valid_name(name: str) -> bool:
    """Whether a name can be part of a topic and of a file name."""
    return re.fullmatch(r"[A-Za-z0-9_.-]+", name) is not None and not name.startswith(".")


def _settings_of(owner: str, knobs: Mapping[str, Choice[Any]]) -> Iterator[dict[str, Any]]:
    """Every combination of field values; fields whose knobs share a name move together."""
    by_name: dict[str, Choice[Any]] = {}
    for choice in knobs.values():
        if by_name.setdefault(choice.name, choice) != choice:
            raise ConfigError(
                f'{owner}: the knob "{choice.name}" has two sets of values; give each its own name'
            )
    for values in itertools.product(*(choice.values for choice in by_name.values())):
        setting = dict(zip(by_name, values, strict=True))
        yield {name: setting[choice.name] for name, choice in knobs.items()}


def _fits(value: object, hint: Any) -> bool:
    """Whether a field's value has the type it is annotated with, as far as plain types go."""
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, option) for option in typing.get_args(hint))
    if origin is typing.Literal:
        return value in typing.get_args(hint)
    if hint is Sequence or origin is Sequence:  # a str is a sequence of str, and never what was meant
        return isinstance(value, Sequence) and not isinstance(value, str)
    if origin is Mapping:
        of_key, of_value = typing.get_args(hint)
        return isinstance(value, Mapping) and all(
            _fits(key, of_key) and _fits(item, of_value) for key, item in value.items()
        )
    kind = origin or hint
    if not isinstance(kind, type):
        return True
    if kind in (int, float) and isinstance(value, bool):
        return False
    try:
        return isinstance(value, (int, float) if kind is float else kind)
    except TypeError:  # a type that cannot be asked: Any, a protocol, a TypedDict
        return True
