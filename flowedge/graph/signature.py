"""The types that a step takes and gives, read from its class, and whether one fits another.

A type here is a class, `tuple[...]`, a union or a type variable, as an author wrote it in
`class Blur(Operator[Frame, Frame])`.
"""

from __future__ import annotations

import types
import typing
from dataclasses import dataclass
from typing import Any, TypeVar

from flowedge.errors import GraphError
from flowedge.graph.contract import Gather, Operator, Sink, Source, Split, Step

Type = Any
Bindings = dict[Any, Type]


@dataclass(frozen=True)
class Signature:
    """What a step takes (None for a source) and gives (None for a sink)."""

    takes: Type | None
    gives: Type | None


def signature(step: Step) -> Signature:
    """The types of a step, with type variables where its author left them open."""
    match step:
        case Source():
            return Signature(None, _arguments(type(step), Source)[0])
        case Sink():
            return Signature(_arguments(type(step), Sink)[0], None)
        case Operator():
            kind: type = Operator
        case Split():
            kind = Split
        case Gather():
            kind = Gather
        case _:
            raise TypeError(f"{step!r} is none of Source, Operator, Split, Gather, Sink")
    return Signature(*_arguments(type(step), kind))


def applied(step: Step, given: Type) -> Type | None:
    """What the step gives when given `given` (None for a sink); raises `TypeError` if it does not fit."""
    types_ = signature(step)
    bindings: Bindings = {}
    if not fits(given, types_.takes, bindings):
        raise TypeError(f"{readable(given)} is not {readable(types_.takes)}")
    return None if types_.gives is None else _substituted(types_.gives, bindings)


def fits(given: Type, wanted: Type, bindings: Bindings) -> bool:
    """Whether a value of type `given` may stand where `wanted` is asked for; binds type variables."""
    if wanted is Any or given is Any or wanted is object:
        return True
    if isinstance(wanted, TypeVar):
        if wanted in bindings:
            return fits(given, bindings[wanted], bindings)
        bindings[wanted] = given
        allowed = wanted.__constraints__ or (wanted.__bound__ or object,)
        return any(fits(given, kind, bindings) for kind in allowed)
    if _is_union(given):
        return all(fits(option, wanted, bindings) for option in typing.get_args(given))
    if _is_union(wanted):
        return any(fits(given, option, bindings) for option in typing.get_args(wanted))
    if _origin(wanted) is tuple:
        inner, outer = typing.get_args(given), typing.get_args(wanted)
        if _origin(given) is not tuple or len(inner) != len(outer):
            return False
        return all(fits(i, o, bindings) for i, o in zip(inner, outer, strict=True))
    given, wanted = _origin(given) or given, _origin(wanted) or wanted
    return isinstance(given, type) and isinstance(wanted, type) and issubclass(given, wanted)


class Accepted:
    """Tells whether a value is of a type, as far as its class says; `classes` are those known to be.

    >>> fits_pair = Accepted(tuple[int, str])
    >>> fits_pair((1, "a")), fits_pair((1, 2)), fits_pair([1, "a"])
    (True, False, False)
    """

    def __init__(self, kind: Type | None) -> None:
        self._kinds = typing.get_args(kind) if _is_union(kind) else (kind,)
        pairs = [kind for kind in self._kinds if _origin(kind) is tuple]
        self._pairs = [[Accepted(half) for half in typing.get_args(pair)] for pair in pairs]
        self._kinds_asked = tuple(_origin(kind) or kind for kind in self._kinds if kind not in pairs)
        self._any = not all(map(_can_be_asked, self._kinds_asked))
        self.classes: set[type] = set()

    def __call__(self, value: object) -> bool:
        if type(value) in self.classes:
            return True
        if self._any or isinstance(value, self._kinds_asked):
            self.classes.add(type(value))
            return True
        return isinstance(value, tuple) and any(
            len(value) == len(halves) and all(fit(half) for fit, half in zip(halves, value, strict=True))
            for halves in self._pairs
        )


def readable(kind: Type) -> str:
    """A type as an author would write it.

    >>> readable(tuple[int, str])
    '(int, str)'
    """
    if _origin(kind) is tuple:
        return f"({', '.join(readable(part) for part in typing.get_args(kind))})"
    if _is_union(kind):
        return " | ".join(readable(option) for option in typing.get_args(kind))
    if isinstance(kind, TypeVar):
        allowed = kind.__constraints__ or ((kind.__bound__,) if kind.__bound__ else ())
        return " | ".join(readable(option) for option in allowed) or "any value"
    return kind.__name__ if isinstance(kind, type) else str(kind)


def _arguments(cls: type, kind: type) -> tuple[Type, ...]:
    """The type arguments that `cls` gives to its ancestor `kind`."""
    for base in getattr(cls, "__orig_bases__", ()):
        origin, arguments = _origin(base), typing.get_args(base)
        if origin is kind:
            return arguments
        if isinstance(origin, type) and issubclass(origin, kind):
            bindings = dict(zip(origin.__parameters__, arguments, strict=False))  # type: ignore[attr-defined]
            return tuple(_substituted(argument, bindings) for argument in _arguments(origin, kind))
    for parent in cls.__bases__:
        if issubclass(parent, kind) and parent is not kind:
            return _arguments(parent, kind)
    raise GraphError(
        f"{cls.__name__} does not say its types: write e.g. class {cls.__name__}({kind.__name__}[...])"
    )


def _substituted(kind: Type, bindings: Bindings) -> Type:
    if isinstance(kind, TypeVar):
        return bindings.get(kind, kind)
    arguments = typing.get_args(kind)
    if not arguments:
        return kind
    changed = tuple(_substituted(argument, bindings) for argument in arguments)
    if _is_union(kind):
        return typing.Union[changed]  # noqa: UP007
    return _origin(kind)[changed]


def _can_be_asked(kind: Type) -> bool:
    """Whether `isinstance` takes this: a class, and not Any, a type variable or a protocol."""
    return isinstance(kind, type) and kind is not Any and not getattr(kind, "_is_protocol", False)


def _is_union(kind: Type) -> bool:
    return _origin(kind) in (typing.Union, types.UnionType)


def _origin(kind: Type) -> Any:
    return typing.get_origin(kind)
