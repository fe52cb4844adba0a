"""flowedge profile: what a graph's operators take and give on this machine."""

from __future__ import annotations

import itertools
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowedge.cli.arguments import Debug, Given, GraphFile, assignments
from flowedge.errors import ConfigError

if TYPE_CHECKING:
    from flowedge.graph.graph import Graph
    from flowedge.profiling.fitting import Fit, Measurement
    from flowedge.profiling.measure import Job
    from flowedge.values import Scalar

Output = Annotated[
    Path,
    typer.Option("--output", metavar="FILE", help="Profiles to write (.toml or .json), for `flowedge plan`."),
]


def profile(
    graph: GraphFile,
    given: Given = None,
    output: Output = Path("profiles.toml"),
    kind: Annotated[
        str,
        typer.Option(
            "--kind", metavar="NAME", help="What machines like this one are called in a cluster file."
        ),
    ] = "this-machine",
    frames: Annotated[
        int, typer.Option("--frames", min=6, metavar="N", help="Frames to measure each setting on.")
    ] = 30,
    cores: Annotated[
        str | None,
        typer.Option(
            "--cores",
            metavar="C1,C2",
            help="Cores to measure with (by default 1 and 2); parts of one, like 0.1, are computed.",
        ),
    ] = None,
    knob: Annotated[
        list[str] | None,
        typer.Option("--knob", metavar="NAME=V1,V2", help="Values of a knob or parameter to measure."),
    ] = None,
    debug: Debug = False,
) -> None:
    """Measure a graph's operators on this machine, for the planner.

    Example: flowedge profile graphs/mot.py --knob tiles=1,4 --kind xeon --output xeon.toml

    Each setting of the graph's knobs is measured with each number of cores, on the same frames, one operator
    after the other. Sinks write into a folder that is removed. Models are fitted to service times by cores and
    pixels, bytes by size and quality, and accuracy by resolution, where a graph ends in Quality; printed is how
    far they miss what was measured (MAE, MSE, RMSE), in % of its mean, and in % where a point is left out.
    """
    from flowedge.cli.files import toml, write
    from flowedge.planner.files.inputs import profiles_as_data
    from flowedge.profiling.fitting import profiles_of

    _check_output(output)
    whole, shares = _cores(cores)
    jobs = _jobs(graph, assignments(given), _knobs(knob or ()))
    found = _measured(jobs, whole, frames)
    data = profiles_as_data(profiles_of(found, kind, shares))
    said = f"Measured by `flowedge profile {graph}` on {frames} frames for each setting and number of cores."
    text = json.dumps(data, indent=2) + "\n" if output.suffix == ".json" else toml(data, said)
    write(output, text, "--output")
    _print(found)
    print(f'wrote {output}: profiles for nodes of kind "{kind}"')


def _check_output(output: Path) -> None:
    """Before minutes of measuring."""
    if output.suffix not in (".toml", ".json"):
        raise ConfigError(f"--output {output}: write a name that ends in .toml or .json")
    if not output.parent.is_dir():
        raise ConfigError(f"--output {output}: there is no folder {output.parent}")


def _measured(jobs: Sequence[Job], cores: Sequence[int], frames: int) -> list[Measurement]:
    """Every job with every number of cores, with a progress bar."""
    from flowedge.profiling.measure import measured

    _warn_if_busy()
    found: list[Measurement] = []
    with _progress(len(jobs) * len(cores)) as advance:
        for count in cores:
            for measurement in measured(jobs, count, frames):
                found.append(measurement)
                advance()
    return found


def _warn_if_busy() -> None:
    from flowedge.profiling.measure import cores_here

    load = os.getloadavg()[0]
    if load > cores_here() / 4:
        said = f"warning: other programs are at work here (load {load:.1f} on {cores_here()} cores)"
        print(f"{said}: times will be too long", file=sys.stderr)


def _cores(text: str | None) -> tuple[list[int], list[float]]:
    """Whole numbers of cores to measure with, and parts of a core to compute."""
    from flowedge.profiling.measure import cores_here

    here = cores_here()
    if text is None:
        return sorted({1, min(2, here)}), [0.01, 0.1]
    try:
        numbers = sorted({float(word) for word in text.split(",")})
    except ValueError:
        numbers = []
    if not numbers or any(not number > 0 or (number > 1 and number % 1) for number in numbers):
        raise ConfigError(f"--cores {text}: write whole numbers, or parts of one core, like 0.1,1,2")
    if numbers[-1] > here:
        raise ConfigError(f"--cores {text}: this machine lets us use {here}")
    shares = [number for number in numbers if number < 1]
    whole = {int(number) for number in numbers if number >= 1} | ({1} if shares else set())
    return sorted(whole), shares


def _knobs(words: Sequence[str]) -> dict[str, list[str]]:
    """The values that `--knob` names."""
    found = {}
    for word in words:
        name, equals, values = word.partition("=")
        if not (name and equals and all(values.split(","))):
            raise ConfigError(f"--knob {word}: write NAME=V1,V2, e.g. size=416,640")
        if name in found:
            raise ConfigError(
                f"--knob {word}: {name} is given twice; write all values in one, separated by commas"
            )
        found[name] = list(dict.fromkeys(values.split(",")))
    return found


def _jobs(path: str, given: dict[str, str], wanted: dict[str, list[str]]) -> list[Job]:
    """One job for each setting: the parameters in `wanted` times the graph's knobs."""
    from flowedge.graph.knobs import suggestion
    from flowedge.graph.loading import load
    from flowedge.profiling.measure import Job

    graph, parameters = load(path, given)
    graph.check()
    knobs = _choices(graph)
    for name in given:
        if name in wanted:
            raise ConfigError(
                f"--knob {name}={','.join(wanted[name])}: {name}={given[name]} is given too; leave one"
            )
    for name in wanted:
        if name not in knobs and name not in parameters:
            near = suggestion(name, {*knobs, *parameters})
            raise ConfigError(f"--knob {name}: the graph has no such knob or parameter{near}")
    varied = {name: values for name, values in wanted.items() if name not in knobs}
    jobs = []
    for values in itertools.product(*varied.values()):
        words = dict(zip(varied, values, strict=True))
        graph, _ = load(path, given | words)
        graph.check()
        spread = {name: _restricted(name, each, wanted.get(name)) for name, each in _choices(graph).items()}
        for chosen in itertools.product(*spread.values()):
            setting = {name: _number(text) for name, text in words.items()} | dict(
                zip(spread, chosen, strict=True)
            )
            jobs.append(Job(path, tuple((given | words).items()), tuple(sorted(setting.items()))))
    return jobs


def _choices(graph: Graph) -> dict[str, tuple[Scalar, ...]]:
    """The values of each knob of a graph."""
    from flowedge.planner.model.applications import scalar

    choices = (choice for node in graph.nodes for choice in node.step.knobs.values())
    return {choice.name: tuple(map(scalar, choice.values)) for choice in choices}


def _restricted(name: str, values: tuple[Scalar, ...], wanted: list[str] | None) -> list[Scalar]:
    if wanted is None:
        return list(values)
    by_text = {str(value): value for value in values}
    for text in wanted:
        if text not in by_text:
            raise ConfigError(f"--knob {name}={text}: the graph lets you choose {', '.join(by_text)}")
    return [by_text[text] for text in wanted]


def _number(text: str) -> Scalar:
    """A parameter's value as it stands in a setting.

    >>> _number("416"), _number("0.5"), _number("yolo11n")
    (416, 0.5, 'yolo11n')
    """
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


@contextmanager
def _progress(total: int) -> Iterator[Any]:
    """A bar, on a terminal only."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda: None
        return
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("measuring", total=total)
        yield lambda: progress.advance(task)


def _print(found: Sequence[Measurement]) -> None:
    """What was measured, and how well models fit it."""
    from flowedge.planner.display.text import aligned, setting_text
    from flowedge.profiling.fitting import fits, free_operators

    free = free_operators(found)
    rows = [("operator", "setting", "cores", "ms a frame", "deviation", "frames", "")]
    rows += [
        (
            step.operator, setting_text(each.setting), str(each.cores), f"{1e3 * step.seconds:.3g}",
            f"{1e3 * step.deviation:.3g}", str(step.frames), "counts as free" if step.operator in free else "",
        )
        for each in found for step in each.times
    ]  # fmt: skip
    print(aligned(rows, right=(2, 3, 4, 5)))
    accuracies = {each.setting: each.accuracy for each in found if each.accuracy is not None}
    for setting, accuracy in accuracies.items():
        print(f"accuracy {setting_text(setting)}: {accuracy.value:.3f} ({accuracy.source})".replace(" -:", ":"))
    models = list(fits(found))
    if models:
        head = ("fitted", "model (c: cores, q: quality / 100)", "points", "terms")
        lines = [(fit.what, fit.model, str(fit.points), str(fit.terms), *_missed(fit)) for fit in models]
        print()
        print(aligned([(*head, *_MISSED), *lines], right=(2, 3, 4, 5, 6, 8, 9)))
        if any(fit.points <= fit.terms for fit in models):
            print("-: as many terms as points always fit; measure more settings or cores to test the model.")
    if len({each.setting for each in found}) == 1:
        print("One setting was measured: give a step a knob (`choose`), or values of a parameter by --knob.")


_MISSED = ("MAE", "MSE", "RMSE", "unit", "%", "left out, %")


def _missed(fit: Fit) -> tuple[str, ...]:
    """The columns that say how far a model misses what was measured."""
    if fit.points <= fit.terms:
        return "-", "-", "-", fit.unit, "-", "-"
    numbers = (f"{each:.3g}" for each in (fit.errors.mae, fit.errors.mse, fit.errors.rmse))
    left_out = "-" if fit.left_out is None else f"{100 * fit.left_out.share:.3g}"
    return *numbers, fit.unit, f"{100 * fit.errors.share:.3g}", left_out
