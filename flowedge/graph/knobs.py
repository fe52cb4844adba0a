"""Values set from outside the graph file: a knob (`choose`) by the planner, a parameter (`param`) by the user.

There is one kind of knob: a parameter with `choices` is one, too.
"""

from __future__ import annotations

import difflib
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, NoReturn, TypeVar, cast, overload

from flowedge.errors import ConfigError
from flowedge.secrets import redact

T = TypeVar("T")

_KINDS = (str, int, float, bool, tuple, Path, type(Path()))
"""What the text of a command line can become."""


@dataclass(frozen=True, eq=False)
class Choice(Generic[T]):
    """The values that the planner may give a field; equal names in one graph move together.

    It stands for a value only as a whole field of an operator. Whatever else is done with it raises
    `ConfigError`, since nobody knows the value before there is a plan.
    """

    name: str
    values: tuple[T, ...]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Choice):
            raise self._misused("compared")
        return self.name == other.name and self.values == other.values

    def __hash__(self) -> int:
        return hash((self.name, self.values))

    def __repr__(self) -> str:
        return f"choose({', '.join(map(repr, (self.name, *self.values)))})"

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("_"):  # copies and printers ask for names that few objects have
            raise AttributeError(name)
        raise self._misused(f"asked for its {name}")

    def _misused(self, done: str) -> ConfigError:
        return ConfigError(
            f"{redact(repr(self))}: a knob has no value before there is a plan, so it cannot be {done}: "
            f"give it to an operator as it is, and choose among values that need no further work"
        )


def _refusing(done: str) -> Callable[..., NoReturn]:
    def refuse(self: Choice[Any], *_: object) -> NoReturn:
        raise self._misused(done)

    return refuse


_MISUSES = {
    "formatted": "str format fspath bytes",
    "tested": "bool",
    "compared": "lt le gt ge",
    "calculated with": (
        "add radd sub rsub mul rmul truediv rtruediv floordiv rfloordiv mod rmod divmod rdivmod pow rpow "
        "matmul rmatmul and rand or ror xor rxor lshift rlshift rshift rrshift neg pos abs invert round"
    ),
    "converted": "int float complex index",
    "looked into": "len iter contains getitem",
    "called": "call",
}
for _done, _operations in _MISUSES.items():
    for _operation in _operations.split():
        setattr(Choice, f"__{_operation}__", _refusing(_done))


def choose(name: str, /, *values: T) -> T:
    """A knob: a configuration value that the planner may choose, e.g. `Resize(choose("width", 416, 512))`.

    It is for a whole field of an operator. The static type is that of the values; the first is used until a
    plan says otherwise. `dataclasses.replace` keeps the knobs of all fields that keep their values.

    Raises `ConfigError` when there is no name or no value, and when the knob is used for anything else.

    >>> f"{choose('width', 416, 512)} pixels"
    Traceback (most recent call last):
        ...
    flowedge.errors.ConfigError: choose('width', 416, 512): a knob has no value before there is a plan, so it \
cannot be formatted: give it to an operator as it is, and choose among values that need no further work
    """
    if not isinstance(name, str):
        raise ConfigError(f'choose({name!r}, ...): a knob begins with its name, e.g. choose("size", 416, 512)')
    if not values:
        raise ConfigError(f'choose("{name}"): a knob needs at least one value, e.g. choose("{name}", 416, 512)')
    for value in values:
        if isinstance(value, Choice) or nested(value) is not None:
            raise ConfigError(f'choose("{name}", ...): a knob cannot stand among the values of a knob')
    return cast(T, Choice(name, values))


def nested(value: object) -> Choice[Any] | None:
    """A knob that stands inside a tuple, list, set or mapping, where no planner can reach it; None without one.

    >>> nested((416, choose("height", 320, 416))), nested(choose("width", 320, 416))
    (choose('height', 320, 416), None)
    """
    if isinstance(value, Mapping):
        items: Iterable[object] = (*value.keys(), *value.values())
    elif isinstance(value, (tuple, list, set, frozenset)):
        items = value
    else:
        return None
    for item in items:
        if isinstance(item, Choice):
            return item
        if (inner := nested(item)) is not None:
            return inner
    return None


@dataclass(frozen=True)
class Parameter:
    """What a graph file declared with `param`. With `choices` it is a knob."""

    name: str
    type: type
    default: Any
    choices: tuple[Any, ...] = ()
    help: str = ""


@dataclass
class Settings:
    """The NAME=VALUE words of a command line, and the parameters that a graph file declared."""

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
def param(name: str, *, choices: Sequence[T], help: str = "") -> T: ...
@overload
def param(name: str, *, type: type[T], help: str = "") -> T | None: ...
def param(
    name: str,
    default: Any = None,
    *,
    type: Any = None,  # noqa: A002
    choices: Sequence[Any] = (),
    help: str = "",  # noqa: A002
) -> Any:
    """A value that the command line may set as NAME=VALUE, else `default` (None where only a type is given).

    The text is converted to the type of the default: str, int, float, bool (yes/no), Path or a tuple of
    str split at commas. A choice of whatever type is set by the text that it is printed as.

    With `choices` the parameter is a knob, see `choose`: the planner chooses among them, beginning with the
    default, which is the first unless given, until the command line sets one of them.

    Raises `ConfigError` where the text cannot be converted, where a value is not among the choices, and for a
    default of another type without choices.

    >>> param("size", 640, help="input size of the detector")
    640
    >>> param("tiles", choices=(1, 2, 4), help="tiles of a frame")
    choose('tiles', 1, 2, 4)
    """
    if choices and default is None:
        default = choices[0]
    kind = type or (str if default is None else default.__class__)
    if choices and default not in choices:
        raise ConfigError(_not_among(name, default, choices))
    if not choices and kind not in _KINDS:
        raise ConfigError(
            redact(
                f"param({name!r}, {default!r}): a command line cannot set a {kind.__name__}: give a str, int, "
                f"float, bool, Path or tuple of str, or choices"
            )
        )
    if kind is tuple and not choices and not all(isinstance(word, str) for word in default or ()):
        raise ConfigError(f"param({name!r}, {default!r}): only a tuple of str can be set by a command line")
    current = _settings.get()
    value, is_set = default, False
    if current is not None:
        current.declared[name] = Parameter(name, kind, default, tuple(choices), help)
        if name in current.given:
            value, is_set = _chosen(name, current.given[name], kind, choices), True
    if not choices:
        return value
    if value not in choices:
        raise ConfigError(_not_among(name, value, choices))
    return choose(name, *([value] if is_set else [value, *(other for other in choices if other != value)]))


def suggestion(name: str, known: Iterable[str]) -> str:
    """'; did you mean "size"?' for a near name, else the list of known names."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1)
    if near:
        return f'; did you mean "{near[0]}"?'
    return f"; it has {', '.join(known)}" if known else "; it has none"


def _not_among(name: str, value: object, choices: Sequence[Any]) -> str:
    """The sentence for a value outside the choices, with the nearest of them."""
    if isinstance(value, (int, float)) and all(isinstance(choice, (int, float)) for choice in choices):
        near = [str(min(choices, key=lambda choice: abs(choice - value)))]
    else:
        near = difflib.get_close_matches(str(value), [str(choice) for choice in choices], n=1)
    mend = f"; did you mean {near[0]}?" if near else ""
    return redact(f"{name}={value}: the choices are {', '.join(map(str, choices))}{mend}")


def _chosen(name: str, text: str, kind: typing.Any, choices: Sequence[Any]) -> Any:
    """The choice that is printed as the text, else the text converted."""
    for choice in choices:
        if str(choice) == text:
            return choice
    if not choices:
        return _converted(name, text, kind)
    kinds = [type(choice) for choice in choices]
    if kind not in _KINDS or any(other is not kind for other in kinds):
        if set(kinds) == {int, float}:
            return _converted(name, text, float)
        raise ConfigError(_not_among(name, text, choices))
    return _converted(name, text, kind)


def _converted(name: str, text: str, kind: typing.Any) -> Any:
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
