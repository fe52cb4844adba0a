"""What to measure of a graph file: a trial for every setting of its knobs."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
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
    """A graph file, the NAME=VALUE words for its parameters, and the `setting` of its knobs to measure."""

    path: str
    given: tuple[tuple[str, str], ...]
    setting: Setting


def trials(path: str, given: Mapping[str, str], wanted: Mapping[str, Sequence[str]]) -> Iterator[Trial]:
    """Every setting of the graph file's knobs, those in `wanted` narrowed to these values.

    Knobs are declared by `choose` or by `param` with choices. Raises `ConfigError` for a name in `wanted` that
    is no knob of the graph or a value that the graph does not let one choose, and whatever
    `flowedge.graph.loading.load` raises.
    """
    graph, parameters = load(path, given)
    graph.check()
    knobs = _knobs(graph)
    for name, values in wanted.items():
        _check_wanted(name, values, given, knobs, parameters)
    spread = {name: _narrowed(name, values, wanted.get(name)) for name, values in knobs.items()}
    for chosen in itertools.product(*spread.values()):
        yield Trial(path, tuple(given.items()), tuple(sorted(zip(spread, chosen, strict=True))))


def _knobs(graph: Graph) -> dict[str, tuple[Scalar, ...]]:
    """The values of each knob of a graph."""
    choices = (choice for node in graph.nodes for choice in node.step.knobs.values())
    return {choice.name: tuple(map(scalar, choice.values)) for choice in choices}


def _check_wanted(
    name: str,
    values: Sequence[str],
    given: Mapping[str, str],
    knobs: Mapping[str, Sequence[Scalar]],
    parameters: Mapping[str, Parameter],
) -> None:
    option = f"--knob {name}={','.join(values)}"
    if name in given:
        raise ConfigError(f"{option}: {name}={given[name]} is given too; leave one")
    if name in knobs:
        return
    if name not in parameters:
        raise ConfigError(f"--knob {name}: the graph has no such knob{suggestion(name, knobs)}")
    if parameters[name].choices:
        raise ConfigError(f"{option}: no operator of the graph has this parameter as a field")
    raise ConfigError(f'{option}: the parameter declares no choices; write param("{name}", ..., choices=(...))')


def _narrowed(name: str, values: Sequence[Scalar], wanted: Sequence[str] | None) -> list[Scalar]:
    """Those of the values that are wanted; all where nothing is said."""
    if wanted is None:
        return list(values)
    by_text = {str(value): value for value in values}
    for text in wanted:
        if text not in by_text:
            raise ConfigError(f"--knob {name}={text}: the graph lets you choose {', '.join(by_text)}")
    return [by_text[text] for text in dict.fromkeys(wanted)]
