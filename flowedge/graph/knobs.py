"""Values that somebody else sets: the planner a knob (`choose`), the command line a parameter (`param`)."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, cast, overload

from flowedge.errors import ConfigError

T = TypeVar("T")


@dataclass(frozen=True)
class Choice(Generic[T]):
    """The values that the planner may give a field; equal names in one graph move together."""

    name: str
    values: tuple[T, ...]


def choose(name: str, /, *values: T) -> T:
    """A knob: a configuration value that the planner may choose, e.g. `Resize(choose("width", 416, 512))`.

    The static type is that of the values; the first is used until a plan says otherwise. Raises
    `ConfigError` when there is no name or no value.
    """
    if not isinstance(name, str):
        raise ConfigError(f'choose({name!r}, ...): a knob begins with its name, e.g. choose("size", 416, 512)')
    if not values:
        raise ConfigError(f'choose("{name}"): a knob needs at least one value, e.g. choose("{name}", 416, 512)')
    return cast(T, Choice(name, values))


@dataclass(frozen=True)
class Parameter:
    """What a graph file declared with `param`: the planner may choose among `choices`, if there are any."""

    name: str
    default: Any = None
    choices: tuple[Any, ...] = ()
    help: str = ""


@dataclass
class Settings:
    """The NAME=VALUE words of a command line, and the parameters that a graph file asked for."""

    given: Mapping[str, str] = field(default_factory=dict)
    declared: dict[str, Parameter] = field(default_factory=dict)

    def check_all_used(self) -> None:
        """Raise `ConfigError` for a name that no `param` asked for, suggesting the near one."""
        for name in self.given:
            if name not in self.declared:
                raise ConfigError(f"{name}: the graph has no such parameter{suggestion(name, self.declared)}")


_settings: ContextVar[Settings | None] = ContextVar("settings", default=None)


@contextmanager
def settings(given: Mapping[str, str]) -> Iterator[Settings]:
    """Make `param` take the values in `given` while a graph file is executed."""
    current = Settings(given)
    token = _settings.set(current)
    try:
        yield current
    finally:
        _settings.reset(token)


@overload
def param(name: str, default: T, *, choices: Sequence[T] = (), help: str = "") -> T: ...
@overload
def param(name: str, *, type: type[T], choices: Sequence[T] = (), help: str = "") -> T | None: ...
def param(
    name: str,
    default: Any = None,
    *,
    type: Any = None,  # noqa: A002
    choices: Sequence[Any] = (),
    help: str = "",  # noqa: A002
) -> Any:
    """A value that the command line may set as NAME=VALUE, else `default` (None where only a type is given).

    The text is converted to the type of the default: str, int, float, bool (yes/no) or a tuple of str split
    at commas. With `choices` the value must be one of these, and the planner may choose it while the command
    line does not. Raises `ConfigError` for a text that cannot be converted or is none of the choices.

    >>> param("size", 640, help="input size of the detector")
    640
    """
    current = _settings.get()
    if current is None:
        return default
    current.declared[name] = Parameter(name, default, tuple(choices), help)
    if name not in current.given:
        return default
    value = _converted(name, current.given[name], type or (str if default is None else default.__class__))
    if choices and value not in choices:
        raise ConfigError(f"{name}={current.given[name]}: is none of {', '.join(map(str, choices))}")
    return value


def suggestion(name: str, known: Iterable[str]) -> str:
    """'; did you mean "size"?' for a near name, else the list of known names."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1)
    if near:
        return f'; did you mean "{near[0]}"?'
    return f"; it has {', '.join(known)}" if known else "; it has none"


def _converted(name: str, text: str, kind: type) -> Any:
    switches = {
        "yes": True,
        "true": True,
        "1": True,
        "on": True,
        "no": False,
        "false": False,
        "0": False,
        "off": False,
    }
    try:
        if kind is bool:
            return switches[text.lower()]
        if kind is tuple:
            return tuple(word.strip() for word in text.split(",") if word.strip())
        return kind(text)
    except (KeyError, ValueError) as error:
        wanted = {bool: "yes or no", int: "a whole number", float: "a number"}.get(kind, kind.__name__)
        raise ConfigError(f"{name}={text}: {wanted} is needed") from error
