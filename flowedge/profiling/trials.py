"""What to measure of a graph file: a trial for every setting of its knobs and parameters."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from flowedge.errors import ConfigError
from flowedge.graph.graph import Graph
from flowedge.graph.knobs import Parameter, suggestion
from flowedge.graph.loading import load
from flowedge.planner.model.applications import scalar
from flowedge.planner.model.profiles import Setting
from flowedge.values import Scalar


@dataclass(frozen=True, slots=True)
class Trial:
    """A graph file, the NAME=VALUE words for its parameters, and the `setting` to measure.

    The setting has the value of every knob, and of every parameter that declares choices.
    """

    path: str
    given: tuple[tuple[str, str], ...]
    setting: Setting


def trials(path: str, given: Mapping[str, str], wanted: Mapping[str, Sequence[str]]) -> Iterator[Trial]:
    """Every setting of the graph file, those of the knobs and parameters in `wanted` narrowed to these values.

    A parameter that `given` sets has this value only. Raises `ConfigError` for a name in `wanted` that is no
    knob and no parameter with choices, or a value that the graph does not let one choose, and whatever
    `flowedge.graph.loading.load` raises.
    """
    graph, parameters = load(path, given)
    graph.check()
    knobs, variable = _knobs(graph), parameter_choices(parameters, given)
    _check_wanted(wanted, given, {*knobs, *variable}, parameters)
    spread = {name: _narrowed(name, values, wanted.get(name)) for name, values in variable.items()}
    for combination in itertools.product(*spread.values()):
        fixed = dict(zip(spread, combination, strict=True))
        words = dict(given) | {name: str(value) for name, value in fixed.items() if name not in given}
        graph, _ = load(path, words)
        graph.check()
        own = {name: _narrowed(name, values, wanted.get(name)) for name, values in _knobs(graph).items()}
        for chosen in itertools.product(*own.values()):
            setting = fixed | dict(zip(own, chosen, strict=True))
            yield Trial(path, tuple(words.items()), tuple(sorted(setting.items())))


def parameter_choices(
    parameters: Mapping[str, Parameter], given: Mapping[str, str]
) -> dict[str, tuple[Scalar, ...]]:
    """The values of each parameter that declares choices: all of them, or the one that the user gave.

    >>> size = Parameter("size", 640, choices=(320, 640))
    >>> parameter_choices({"size": size}, {}), parameter_choices({"size": size}, {"size": "320"})
    ({'size': (320, 640)}, {'size': (320,)})
    """
    return {
        name: (_chosen(parameter, given[name]),) if name in given else tuple(map(scalar, parameter.choices))
        for name, parameter in parameters.items()
        if parameter.choices
    }


def _chosen(parameter: Parameter, text: str) -> Scalar:
    """The choice that a word of the command line stands for; `param` has refused a word that is none."""
    for value in parameter.choices:
        if _stands_for(text, value):
            return scalar(value)
    raise ConfigError(
        f"{parameter.name}={text}: is none of the parameter's choices, {', '.join(map(str, parameter.choices))}"
    )


def _stands_for(text: str, value: object) -> bool:
    if isinstance(value, bool):
        return (text.lower() in ("yes", "true", "1", "on")) == value
    if isinstance(value, (int, float)):
        try:
            return float(text) == value
        except ValueError:
            return False
    return text == str(value)


def _knobs(graph: Graph) -> dict[str, tuple[Scalar, ...]]:
    """The values of each knob of a graph."""
    choices = (choice for node in graph.nodes for choice in node.step.knobs.values())
    return {choice.name: tuple(map(scalar, choice.values)) for choice in choices}


def _check_wanted(
    wanted: Mapping[str, Sequence[str]],
    given: Mapping[str, str],
    variable: Collection[str],
    parameters: Mapping[str, Parameter],
) -> None:
    for name, values in wanted.items():
        option = f"--knob {name}={','.join(values)}"
        if name in given:
            raise ConfigError(f"{option}: {name}={given[name]} is given too; leave one")
        if name in parameters and name not in variable:
            raise ConfigError(
                f'{option}: the parameter declares no choices; write param("{name}", ..., choices=(...))'
            )
        if name not in variable:
            raise ConfigError(
                f"--knob {name}: the graph has no such knob or parameter{suggestion(name, variable)}"
            )


def _narrowed(name: str, values: Sequence[Scalar], wanted: Sequence[str] | None) -> list[Scalar]:
    """Those of the values that are wanted; all where nothing is said."""
    if wanted is None:
        return list(values)
    found = []
    for text in wanted:
        named = [value for value in values if _stands_for(text, value)]
        if not named:
            raise ConfigError(f"--knob {name}={text}: the graph lets you choose {', '.join(map(str, values))}")
        found += named
    return list(dict.fromkeys(found))
